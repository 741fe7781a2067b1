package blob

import (
	"errors"
	"io"
	"testing"
)

// TestSettleFlushes: what another process has linked and not flushed is flushed,
// with the directories above it the first time.
func TestSettleFlushes(t *testing.T) {
	d, s := newScripted(t)
	other, err := OpenDir(d.Path(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Put(t.Context(), "t/_delta_log/1.json", []byte("x"), once); err != nil {
		t.Fatal(err)
	}
	for _, b := range []Bucket{d, NewRetry(NewFaulty(NewTrace(d)), RetryOptions{})} {
		s.take()
		if err := Settle(t.Context(), b, "t/_delta_log"); err != nil {
			t.Fatal(err)
		}
		if b == Bucket(d) {
			wantOps(t, "first", s.take(), "mkdir t\nsyncdir .\nmkdir t/_delta_log\nsyncdir t\nsyncdir t/_delta_log")
		} else {
			wantOps(t, "later, through decorators", s.take(), "syncdir t/_delta_log")
		}
	}
	if err := Settle(t.Context(), d, "../t"); !errors.Is(err, ErrInvalidKey) {
		t.Errorf("a folder outside: %v", err)
	}
	if err := Settle(t.Context(), NewMemory(), "t"); err != nil {
		t.Errorf("memory: %v", err)
	}
}

// TestSettleFailsForGood: after a flush that failed nothing is settled any more.
func TestSettleFailsForGood(t *testing.T) {
	d, s := newScripted(t)
	if err := Settle(t.Context(), d, "t"); err != nil {
		t.Fatal(err)
	}
	s.on = func(op string) error {
		if op == "syncdir t" {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	for range 2 {
		if err := Settle(t.Context(), d, "t"); !errors.Is(err, ErrNotDurable) {
			t.Errorf("after a failed flush: %v", err)
		}
		s.on = nil
	}
}
