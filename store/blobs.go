package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

func blobKey(digest string) string { return "_trajlake/blobs/" + digest[:2] + "/" + digest }

// PutBlob stores body once per lake under its SHA-256 and returns that in hex.
// It is durable on return; storing the same bytes again is free.
func (l *Lake) PutBlob(ctx context.Context, body []byte) (digest string, err error) {
	sum := sha256.Sum256(body)
	digest = hex.EncodeToString(sum[:])
	if err := l.writable("store blob"); err != nil {
		return "", err
	}
	key := blobKey(digest)
	err = l.bucket.Put(ctx, key, body, blob.PutOptions{IfAbsent: true})
	if err == nil || errors.Is(err, blob.ErrExists) {
		return digest, nil
	}
	if errors.Is(err, blob.ErrUnknown) && !errors.Is(err, blob.ErrNotDurable) {
		if st, serr := l.bucket.Stat(ctx, key); serr == nil && st.Size == int64(len(body)) {
			return digest, nil
		}
	}
	l.noteNotDurable(err)
	return "", putError("store blob "+digest, err)
}

// GetBlob reads a blob by its digest and checks the bytes against it.
func (l *Lake) GetBlob(ctx context.Context, digest string) ([]byte, error) {
	op := "read blob " + digest
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return nil, fault.New(fault.Usage, op, "a digest is 64 hex digits")
	}
	body, err := l.bucket.Get(ctx, blobKey(digest), 0, -1)
	if errors.Is(err, blob.ErrNotExist) {
		return nil, fault.New(fault.NotFound, op, "no such blob")
	}
	if err != nil {
		return nil, fault.WrapAs(fault.Unavailable, op, err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != digest {
		return nil, fault.New(fault.Corrupt, op, "the stored bytes have another digest")
	}
	return body, nil
}
