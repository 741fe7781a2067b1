package blob

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// partSize splits plain puts of bigger bodies into parts, so that one
	// lost connection does not cost the whole.
	partSize = 16 << 20
	// partRetries is how often a client sends one part in all.
	partRetries = 5
	// conflictTries is how often a conditional put is sent that the store
	// answers with 409, which means "raced, send the same again".
	conflictTries = 8
)

// S3 is a Bucket in an S3 bucket, or in the part of one below a prefix. Use
// Open. It does not retry by itself.
//
// In a bucket with versioning Delete leaves the old version in place; whoever
// must be able to erase should not turn versioning on.
type S3 struct {
	once      *minio.Client // sends every request exactly once
	parts     *minio.Client // for uploads in parts; retries each
	transport *http.Transport
	bucket    string
	prefix    string // empty, or ends in '/'
}

func openS3(ctx context.Context, cfg s3Config, create bool) (*S3, error) {
	transport, err := s3Transport(cfg)
	if err != nil {
		return nil, err
	}
	client := func(retries int) (*minio.Client, error) {
		opt := &minio.Options{
			Creds: cfg.creds, Secure: cfg.endpoint.Scheme == "https", Transport: transport,
			Region: cfg.region, MaxRetries: retries,
		}
		if cfg.pathStyle {
			opt.BucketLookup = minio.BucketLookupPath
		}
		return minio.New(cfg.endpoint.Host, opt)
	}
	s := &S3{transport: transport, bucket: cfg.bucket}
	if cfg.prefix != "" {
		s.prefix = cfg.prefix + "/"
	}
	if s.once, err = client(1); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidURL, err)
	}
	if s.parts, err = client(partRetries); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidURL, err)
	}
	if err := s.check(ctx, cfg, create); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func s3Transport(cfg s3Config) (*http.Transport, error) {
	t, err := minio.DefaultTransport(cfg.endpoint.Scheme == "https")
	if err != nil {
		return nil, err
	}
	t.MaxIdleConnsPerHost = 64 // a replay read has many ranges in flight
	if cfg.caBundle != "" && t.TLSClientConfig != nil {
		pem, err := os.ReadFile(cfg.caBundle)
		if err != nil {
			return nil, fmt.Errorf("read AWS_CA_BUNDLE: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("AWS_CA_BUNDLE %s holds no certificate", cfg.caBundle)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// check finds out whether the bucket is there and the keys are good, and makes
// the bucket if asked to.
func (s *S3) check(ctx context.Context, cfg s3Config, create bool) error {
	keys, err := cfg.creds.GetWithContext(&credentials.CredContext{Client: &http.Client{Timeout: roleTimeout, Transport: s.transport}})
	if err != nil || keys.AccessKeyID == "" {
		return errors.Join(fmt.Errorf("%w: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", ErrDenied), err)
	}
	err = firstObject(ctx, NewRetry(s, RetryOptions{Attempts: 4}))
	if create && errors.Is(err, ErrNoBucket) {
		err = s.once.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: cfg.region})
		made := err == nil || minio.ToErrorResponse(err).Code == "BucketAlreadyOwnedByYou"
		if !made {
			return fmt.Errorf("create bucket %s: %w", s.bucket, s3Error(err))
		}
		err = firstObject(ctx, NewRetry(s, RetryOptions{Attempts: 4}))
	}
	switch {
	case errors.Is(err, ErrNoBucket):
		return fmt.Errorf("bucket %s: %w; create it, or check the name and the endpoint", s.bucket, err)
	case errors.Is(err, ErrDenied):
		return fmt.Errorf("bucket %s: %w; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, the region and the right to list", s.bucket, err)
	case errors.Is(err, ErrUnavailable):
		return fmt.Errorf("endpoint %s: %w; check the address and that the server runs", cfg.endpoint, err)
	}
	return err
}

// firstObject asks for the first object: the cheapest question whose answer, unlike
// that to HEAD, tells a wrong key from a missing right.
func firstObject(ctx context.Context, b Bucket) error {
	for _, err := range b.List(ctx, "", "") {
		return err
	}
	return nil
}

// Close closes idle connections. The bucket stays usable.
func (s *S3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Get implements Bucket.
func (s *S3) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if err := CheckKey(key); err != nil {
		return nil, keyError("get", key, err)
	}
	if off < 0 {
		return nil, keyError("get", key, fmt.Errorf("offset %d: %w", off, ErrRange))
	}
	if n == 0 {
		return []byte{}, s.checkRange(ctx, key, off, n) // HTTP has no empty range
	}
	opts := minio.GetObjectOptions{}
	ranged := off > 0 || n > 0
	switch {
	case n > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+min(n-1, math.MaxInt64-off)))
	case off > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", off))
	}
	body, info, header, err := minio.Core{Client: s.once}.GetObject(ctx, s.bucket, s.prefix+key, opts)
	if err != nil {
		err = s3Error(err)
		if errors.Is(err, ErrRange) {
			return []byte{}, s.checkRange(ctx, key, off, n)
		}
		return nil, keyError("get", key, err)
	}
	defer body.Close() // read to the end or given up
	switch {
	case ranged && header.Get("Content-Range") == "" && (off > 0 || info.Size > n):
		return nil, keyError("get", key, errors.New("the store ignored the range and sent the whole object"))
	case n > 0 && info.Size != n:
		return nil, keyError("get", key, rangeError(off, n, off+info.Size))
	case info.Size < 0:
		return nil, keyError("get", key, errors.New("the store did not tell the length"))
	}
	got := make([]byte, info.Size)
	if _, err := io.ReadFull(body, got); err != nil {
		return nil, keyError("get", key, s3Error(err))
	}
	return got, nil
}

// checkRange decides whether an empty answer to Get(off, n) is right.
func (s *S3) checkRange(ctx context.Context, key string, off, n int64) error {
	info, err := s.Stat(ctx, key)
	if err != nil {
		return err
	}
	if n, err = clip(off, n, info.Size); err != nil {
		return keyError("get", key, err)
	}
	if n > 0 {
		return keyError("get", key, fmt.Errorf("%w: the object changed while it was read", ErrUnavailable))
	}
	return nil
}

// Put implements Bucket. A conditional put is one request, sent once: a client
// library that repeats it by itself turns a lost answer into a false
// ErrExists, and one that splits it into parts loses the condition.
func (s *S3) Put(ctx context.Context, key string, body []byte, opt PutOptions) error {
	if err := ctx.Err(); err != nil {
		return keyError("put", key, err)
	}
	if err := CheckKey(key); err != nil {
		return keyError("put", key, err)
	}
	opts := minio.PutObjectOptions{PartSize: partSize, DisableMultipart: opt.IfAbsent}
	client := s.parts
	if opt.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	if opt.IfAbsent || len(body) <= partSize {
		client = s.once
	}
	for attempt := 0; ; attempt++ {
		_, err := client.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(body), int64(len(body)), opts)
		if err == nil {
			return nil
		}
		if status(err) == http.StatusConflict && attempt+1 < conflictTries &&
			pause(ctx, backoff(attempt, 10*time.Millisecond, time.Second)) == nil {
			continue
		}
		return keyError("put", key, putError(err, opt))
	}
}

// putError adds to s3Error what only a put can mean.
func putError(err error, opt PutOptions) error {
	code, mapped := status(err), s3Error(err)
	switch {
	case code == http.StatusPreconditionFailed && opt.IfAbsent:
		return fmt.Errorf("%w (%w)", ErrExists, err)
	case code == http.StatusNotImplemented && opt.IfAbsent:
		return fmt.Errorf("%w: the store does not know If-None-Match (%w)", ErrNotAtomic, err)
	case code == 0 && !untrusted(err), errors.Is(mapped, ErrUnavailable):
		// Including a cancelled context: the request may be under way.
		return fmt.Errorf("%w: %w", ErrUnknown, mapped)
	}
	return mapped
}

// status is the HTTP status that err stands for, 0 if there was no answer.
func status(err error) int {
	var resp minio.ErrorResponse
	if errors.As(err, &resp) {
		return resp.StatusCode
	}
	return 0
}

// untrusted reports that no request was sent because the server could not
// prove who it is.
func untrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}

// s3Error adds the sentinel that an error of the client library amounts to.
func s3Error(err error) error {
	var resp minio.ErrorResponse
	if !errors.As(err, &resp) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || untrusted(err) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // no or half an answer
	}
	var kind error
	switch {
	case resp.Code == "NoSuchBucket":
		kind = ErrNoBucket
	case resp.StatusCode == http.StatusNotFound:
		kind = ErrNotExist
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		kind = ErrRange
	case resp.Code == "RequestTimeout", resp.Code == "SlowDown",
		resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented,
		resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout,
		resp.StatusCode == http.StatusConflict:
		kind = ErrUnavailable
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusUnauthorized:
		kind = ErrDenied
	default:
		return fmt.Errorf("store answered %d %s: %w", resp.StatusCode, resp.Code, err)
	}
	return fmt.Errorf("%w: store answered %d %s (%w)", kind, resp.StatusCode, resp.Code, err)
}

// Stat implements Bucket.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, keyError("stat", key, err)
	}
	o, err := s.once.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return Info{}, keyError("stat", key, s3Error(err))
	}
	return s3Info(key, o), nil
}

func s3Info(key string, o minio.ObjectInfo) Info {
	return Info{Key: key, Size: o.Size, ModTime: o.LastModified, ETag: o.ETag}
}

// List implements Bucket. It fails on a store that does not list in order of
// key bytes (S3 directory buckets do not).
func (s *S3) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	if err := checkPrefix(prefix); err != nil {
		return failList(err)
	}
	return func(yield func(Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		owner := false // saves half the bytes of an answer
		opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, FetchOwner: &owner}
		if startAfter != "" {
			opts.StartAfter = s.prefix + startAfter
		}
		last := startAfter
		for o := range s.once.ListObjectsIter(ctx, s.bucket, opts) {
			if o.Err != nil {
				yield(Info{}, keyError("list", prefix, s3Error(o.Err)))
				return
			}
			key, ok := strings.CutPrefix(o.Key, s.prefix)
			if !ok || CheckKey(key) != nil {
				continue
			}
			if key <= last {
				yield(Info{}, keyError("list", prefix, fmt.Errorf("the store lists %s after %s, which is out of order", key, last)))
				return
			}
			last = key
			if !yield(s3Info(key, o), nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Info{}, keyError("list", prefix, err))
		}
	}
}

// Delete implements Bucket.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return keyError("delete", key, err)
	}
	err := s.once.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	if err == nil {
		return nil
	}
	if err = s3Error(err); errors.Is(err, ErrNotExist) {
		return nil
	}
	return keyError("delete", key, err)
}
