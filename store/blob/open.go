package blob

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Open opens the bucket at an address:
//
//	/some/path, some/path, file:///some/path
//	s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1&profile=name&path_style=1&insecure=1
//
// With create a missing directory or S3 bucket is made; else it is
// ErrNoBucket. The parameters of an S3 address are optional. endpoint, region
// and profile stand before AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION,
// AWS_DEFAULT_REGION and AWS_PROFILE, and those before the shared AWS files.
// An endpoint without a scheme means https, or http with insecure=1.
// path_style defaults to 1 where an endpoint is given. Keys come from
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, then the
// shared files, then the role of the machine; they are never part of an
// address.
//
// Open also returns the address in a canonical form, without secrets: two
// addresses of one place are canonically alike if they differ in spelling only.
// An S3 bucket comes wrapped in Retry. ctx bounds the opening alone.
func Open(ctx context.Context, address string, create bool) (Bucket, string, error) {
	scheme, rest, hasScheme := strings.Cut(address, "://")
	switch {
	case address == "":
		return nil, "", fmt.Errorf("%w: empty", ErrInvalidURL)
	case !hasScheme:
		return openPath(address, create)
	case scheme == "file":
		u, err := url.Parse(address)
		if err != nil || u.Path == "" || u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, "", fmt.Errorf("%w: a file address is file:///absolute/path", ErrInvalidURL)
		}
		return openPath(filepath.FromSlash(u.Path), create)
	case scheme == "s3":
		cfg, err := parseS3("s3://"+rest, os.Getenv)
		if err != nil {
			return nil, "", err
		}
		s, err := openS3(ctx, cfg, create)
		if err != nil {
			return nil, "", fmt.Errorf("open %s: %w", cfg.canonical(), err)
		}
		return NewRetry(s, RetryOptions{}), cfg.canonical(), nil
	}
	return nil, "", fmt.Errorf("%w: scheme %.20q; use a path, file:// or s3://", ErrInvalidURL, scheme)
}

func openPath(path string, create bool) (Bucket, string, error) {
	d, err := OpenDir(path, create)
	if err != nil {
		return nil, "", err
	}
	real, err := filepath.EvalSymlinks(d.Path())
	if err != nil {
		d.Close() // it holds nothing but a descriptor
		return nil, "", fmt.Errorf("open directory %s: %w", d.Path(), err)
	}
	return d, (&url.URL{Scheme: "file", Path: filepath.ToSlash(real)}).String(), nil
}
