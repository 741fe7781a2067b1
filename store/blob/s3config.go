package blob

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const (
	awsEndpoint   = "https://s3.amazonaws.com"
	defaultRegion = "us-east-1"
	// roleTimeout bounds the question for the role of the machine, which off
	// AWS nobody answers.
	roleTimeout = 5 * time.Second
)

// s3Config is a parsed S3 address, completed from the environment.
type s3Config struct {
	bucket    string
	prefix    string   // empty, or a key
	endpoint  *url.URL // scheme and host
	custom    bool     // the endpoint is not AWS's own
	region    string   // empty: ask the store
	profile   string   // empty: the default one
	pathStyle bool
	caBundle  string // file with additional certificates; empty: none
	creds     *credentials.Credentials
}

// parseS3 reads an address of the form that Open documents.
func parseS3(address string, getenv func(string) string) (s3Config, error) {
	u, err := url.Parse(address)
	if err != nil {
		// The parser's message would repeat the address, secrets included.
		return s3Config{}, fmt.Errorf("%w: not an URL of the form s3://bucket/prefix?endpoint=...", ErrInvalidURL)
	}
	if u.User != nil {
		return s3Config{}, fmt.Errorf("%w: it holds credentials; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", ErrInvalidURL)
	}
	cfg := s3Config{bucket: u.Host, prefix: strings.Trim(u.Path, "/"), caBundle: getenv("AWS_CA_BUNDLE")}
	if err := s3utils.CheckValidBucketNameStrict(cfg.bucket); err != nil {
		return s3Config{}, fmt.Errorf("%w: bucket %q: %w", ErrInvalidURL, cfg.bucket, err)
	}
	if cfg.prefix != "" {
		if err := CheckKey(cfg.prefix); err != nil {
			return s3Config{}, fmt.Errorf("%w: prefix: %w", ErrInvalidURL, err)
		}
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return s3Config{}, fmt.Errorf("%w: malformed parameters", ErrInvalidURL)
	}
	known := []string{"endpoint", "region", "profile", "path_style", "insecure"}
	for name, values := range q {
		if !slices.Contains(known, name) || len(values) != 1 {
			return s3Config{}, fmt.Errorf("%w: parameter %.40q is unknown or repeated; known are %s", ErrInvalidURL, name, strings.Join(known, ", "))
		}
	}
	cfg.profile = first(q.Get("profile"), getenv("AWS_PROFILE"))
	shared := sharedConfig(cfg.profile, getenv)
	cfg.region = first(q.Get("region"), getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), shared["region"])
	endpoint := first(q.Get("endpoint"), getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL"), shared["endpoint_url"])
	if err := cfg.setEndpoint(endpoint, q); err != nil {
		return s3Config{}, err
	}
	cfg.creds = s3Credentials(cfg, q.Has("profile"), getenv)
	return cfg, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// setEndpoint fills in endpoint, and what depends on whose it is.
func (c *s3Config) setEndpoint(endpoint string, q url.Values) error {
	insecure, err := boolParam(q, "insecure", false)
	if err != nil {
		return err
	}
	c.custom = endpoint != ""
	if endpoint == "" {
		endpoint = awsEndpoint
	}
	if !strings.Contains(endpoint, "://") {
		if insecure {
			endpoint = "http://" + endpoint
		} else {
			endpoint = "https://" + endpoint
		}
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || strings.Trim(e.Path, "/") != "" ||
		e.RawQuery != "" || e.Fragment != "" || e.User != nil {
		return fmt.Errorf("%w: an endpoint is http(s)://host:port and nothing more", ErrInvalidURL)
	}
	c.endpoint = &url.URL{Scheme: e.Scheme, Host: e.Host}
	if c.custom && c.region == "" {
		c.region = defaultRegion
	}
	c.pathStyle, err = boolParam(q, "path_style", c.custom)
	return err
}

func boolParam(q url.Values, name string, absent bool) (bool, error) {
	if !q.Has(name) {
		return absent, nil
	}
	v, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, fmt.Errorf("%w: parameter %s must be 0 or 1", ErrInvalidURL, name)
	}
	return v, nil
}

// canonical is the address without credentials and profile, which say who is
// asking and not what is asked for.
func (c s3Config) canonical() string {
	u := url.URL{Scheme: "s3", Host: c.bucket}
	if c.prefix != "" {
		u.Path = "/" + c.prefix
	}
	q := url.Values{}
	if c.custom {
		q.Set("endpoint", c.endpoint.String())
		if !c.pathStyle {
			q.Set("path_style", "0")
		}
	}
	if c.region != "" && !(c.custom && c.region == defaultRegion) {
		q.Set("region", c.region)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// s3Credentials chooses where the keys come from. A profile named in the
// address stands before keys in the environment, as in the AWS tools.
func s3Credentials(c s3Config, profileGiven bool, getenv func(string) string) *credentials.Credentials {
	id, secret := getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY")
	if id != "" && secret != "" && !profileGiven {
		return credentials.NewStaticV4(id, secret, getenv("AWS_SESSION_TOKEN"))
	}
	providers := []credentials.Provider{&credentials.FileAWSCredentials{Profile: c.profile}}
	inContainer := getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" || getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" ||
		getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != ""
	onMachine := !c.custom && !strings.EqualFold(getenv("AWS_EC2_METADATA_DISABLED"), "true")
	if !profileGiven && (inContainer || onMachine) {
		providers = append(providers, &credentials.IAM{Client: &http.Client{Timeout: roleTimeout}})
	}
	return credentials.NewChainCredentials(providers)
}

// sharedConfig reads the settings of a profile from the AWS config file. A
// file that is absent or cannot be read has no settings.
func sharedConfig(profile string, getenv func(string) string) map[string]string {
	name := getenv("AWS_CONFIG_FILE")
	if name == "" {
		home := getenv("HOME")
		if home == "" {
			return nil
		}
		name = filepath.Join(home, ".aws", "config")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	return readProfile(f, profile)
}

// readProfile returns the top-level settings of one profile of an AWS config
// file: "[profile name]" or "[default]", then "key = value".
func readProfile(r io.Reader, profile string) map[string]string {
	header := "default"
	if profile != "" && profile != "default" {
		header = "profile " + profile
	}
	settings := make(map[string]string)
	inside := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case trimmed[0] == '[':
			section := strings.Trim(trimmed, "[]")
			inside = strings.Join(strings.Fields(section), " ") == header
		case inside && line[0] != ' ' && line[0] != '\t': // indented lines belong to a nested setting
			if key, value, ok := strings.Cut(trimmed, "="); ok {
				settings[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
	}
	return settings
}
