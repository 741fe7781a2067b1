package blob

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseS3(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	err := os.WriteFile(config, []byte(`# comment
[default]
region = eu-central-1
s3 =
  endpoint_url = http://nested
[profile lab]
endpoint_url=http://lab:9000
region=lab-1
[profile labor]
region=wrong
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address string
		env     map[string]string
		want    string // the canonical address
		prefix  string
	}{
		{"s3://lake", nil, "s3://lake", ""},
		{"s3://lake/", nil, "s3://lake", ""},
		{"s3://lake/a/b/", nil, "s3://lake/a/b", "a/b"},
		{"s3://lake?region=eu-west-1", map[string]string{"AWS_REGION": "x"}, "s3://lake?region=eu-west-1", ""},
		{"s3://lake", map[string]string{"AWS_REGION": "r1", "AWS_DEFAULT_REGION": "r2"}, "s3://lake?region=r1", ""},
		{"s3://lake", map[string]string{"AWS_DEFAULT_REGION": "r2"}, "s3://lake?region=r2", ""},
		{"s3://lake", map[string]string{"AWS_CONFIG_FILE": config}, "s3://lake?region=eu-central-1", ""},
		{"s3://lake", map[string]string{"AWS_CONFIG_FILE": config, "AWS_PROFILE": "lab"}, "s3://lake?endpoint=http%3A%2F%2Flab%3A9000&region=lab-1", ""},
		{"s3://lake?profile=lab", map[string]string{"AWS_CONFIG_FILE": config, "AWS_PROFILE": "default"}, "s3://lake?endpoint=http%3A%2F%2Flab%3A9000&region=lab-1", ""},
		{"s3://lake?endpoint=http://h:1", nil, "s3://lake?endpoint=http%3A%2F%2Fh%3A1", ""},
		{"s3://lake?endpoint=http://h:1/&region=us-east-1", nil, "s3://lake?endpoint=http%3A%2F%2Fh%3A1", ""},
		{"s3://lake?endpoint=h:1", nil, "s3://lake?endpoint=https%3A%2F%2Fh%3A1", ""},
		{"s3://lake?endpoint=h:1&insecure=1&path_style=0", nil, "s3://lake?endpoint=http%3A%2F%2Fh%3A1&path_style=0", ""},
		{"s3://lake", map[string]string{"AWS_ENDPOINT_URL": "http://b", "AWS_ENDPOINT_URL_S3": "http://a"}, "s3://lake?endpoint=http%3A%2F%2Fa", ""},
		{"s3://lake", map[string]string{"AWS_ENDPOINT_URL": "http://b"}, "s3://lake?endpoint=http%3A%2F%2Fb", ""},
	} {
		env := func(name string) string { return c.env[name] }
		cfg, err := parseS3(c.address, env)
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		if cfg.canonical() != c.want || cfg.prefix != c.prefix || cfg.bucket != "lake" {
			t.Errorf("%s %v: canonical %s, prefix %q; want %s, %q", c.address, c.env, cfg.canonical(), cfg.prefix, c.want, c.prefix)
		}
		again, err := parseS3(cfg.canonical(), func(string) string { return "" })
		if err != nil || again.canonical() != c.want {
			t.Errorf("canonical address %s is not stable: %s, %v", c.want, again.canonical(), err)
		}
	}
}

func TestParseS3Refuses(t *testing.T) {
	for _, address := range []string{
		"s3://", "s3:///key", "s3://B_d", "s3://ab", "s3://lake/../x", "s3://lake/a//b", "s3://lake/a%20b", "s3://lake#f",
		"s3://lake?endpoint=ftp://h", "s3://lake?endpoint=http://h/path", "s3://lake?endpoint=http://u:hunter2@h",
		"s3://lake?nosuch=1", "s3://lake?region=a&region=b", "s3://lake?insecure=perhaps", "s3://lake?path_style=",
		"s3://key:hunter2@lake", "s3://lake?a=%zz", "s3://key:hunter2@la ke",
	} {
		_, err := parseS3(address, func(string) string { return "" })
		if !errors.Is(err, ErrInvalidURL) {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the secret: %v", address, err)
		}
	}
}

func TestOpenAddresses(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "lake"), link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(ctx, filepath.Join(dir, "lake"), false); !errors.Is(err, ErrNoBucket) {
		t.Errorf("open of an absent directory = %v", err)
	}
	t.Chdir(dir)
	for _, address := range []string{filepath.Join(dir, "lake"), "lake", "./x/../lake/", "file://" + dir + "/lake", "file://localhost" + dir + "/lake/", link} {
		b, canonical, err := Open(ctx, address, true)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if want := "file://" + real + "/lake"; canonical != want {
			t.Errorf("%s: canonical %s, want %s", address, canonical, want)
		}
		if err := Close(b); err != nil {
			t.Error(err)
		}
	}
	for _, address := range []string{"", "mem://x", "http://host/x", "file://host/x", "file://", "file:///x?y=1"} {
		if _, _, err := Open(ctx, address, true); !errors.Is(err, ErrInvalidURL) {
			t.Errorf("open %q = %v", address, err)
		}
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", dir)
	_, _, err = Open(ctx, "s3://lake?endpoint=http://127.0.0.1:1", false)
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("open without credentials = %v", err)
	}
}
