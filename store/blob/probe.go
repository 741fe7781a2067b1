package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// PutUnique creates key with a body that no other writer would send (one that
// holds a random id of its author), and settles an unknown outcome by reading
// back. nil means that body is what key holds; ErrExists that another's body
// is there; ErrUnknown that the store could not be asked before ctx ended or
// the attempts ran out. ErrNotDurable is passed on unsettled.
//
// Sending the same bytes again is safe, since at most one copy takes effect.
func PutUnique(ctx context.Context, b Bucket, key string, body []byte) error {
	const attempts = 6
	for attempt := 0; ; attempt++ {
		err := b.Put(ctx, key, body, PutOptions{IfAbsent: true})
		open := errors.Is(err, ErrUnknown) || errors.Is(err, ErrUnavailable)
		switch {
		case err == nil || errors.Is(err, ErrNotDurable):
			return err
		case errors.Is(err, ErrExists) && attempt == 0:
			return err
		case !open && !errors.Is(err, ErrExists):
			return err
		}
		// An ErrExists after the first attempt may be that attempt's own doing.
		got, getErr := b.Get(ctx, key, 0, -1)
		switch {
		case getErr == nil && bytes.Equal(got, body):
			return nil
		case getErr == nil:
			return keyError("put", key, ErrExists)
		}
		if attempt+1 >= attempts || pause(ctx, backoff(attempt, 50*time.Millisecond, 2*time.Second)) != nil {
			return keyError("put", key, fmt.Errorf("%w: %w; reading back: %w", ErrUnknown, err, getErr))
		}
	}
}

// probePrefix is where Probe puts its keys.
const probePrefix = "_trajlake/probe/"

// Probe checks that b creates-if-absent atomically: rounds times, racers
// concurrent Puts of different bodies to one fresh key must have exactly one
// winner, whose body is then found under the key. Anything else is
// ErrNotAtomic, with what was seen. Less than 1 round or 2 racers count as
// that many. The keys it made are deleted again.
//
// A pass is evidence, not proof: a store of several endpoints can race between
// those that this process does not talk to.
func Probe(ctx context.Context, b Bucket, rounds, racers int) error {
	for round := range max(rounds, 1) {
		if err := probeOnce(ctx, b, max(racers, 2)); err != nil {
			return fmt.Errorf("probe create-if-absent, round %d of %d: %w", round+1, rounds, err)
		}
	}
	return nil
}

func probeOnce(ctx context.Context, b Bucket, racers int) (err error) {
	key := probePrefix + rand.Text()
	defer func() {
		// Also when ctx has ended, or the key would stay for ever.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, b.Delete(cleanup, key))
	}()
	bodies := make([][]byte, racers)
	results := make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		bodies[i] = fmt.Appendf(nil, "probe %d %s\n", i, rand.Text())
		wg.Go(func() {
			<-start
			results[i] = b.Put(ctx, key, bodies[i], PutOptions{IfAbsent: true})
		})
	}
	close(start)
	wg.Wait()
	return judge(ctx, b, key, bodies, results)
}

// judge decides whether the outcome of one race is lawful.
func judge(ctx context.Context, b Bucket, key string, bodies [][]byte, results []error) error {
	winner, winners := -1, 0
	for i, err := range results {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case errors.Is(err, ErrNotDurable), !errors.Is(err, ErrExists) && !errors.Is(err, ErrUnknown):
			return err
		}
	}
	if winners > 1 {
		return fmt.Errorf("%w: %d of %d concurrent writers were told that they created the object", ErrNotAtomic, winners, len(results))
	}
	got, err := b.Get(ctx, key, 0, -1)
	if err != nil && winners == 0 && errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%w: none of %d writers got an answer: %w", ErrUnavailable, len(results), errors.Join(results...))
	}
	if err != nil {
		return err
	}
	for i, body := range bodies {
		if !bytes.Equal(got, body) {
			continue
		}
		if winners == 0 && errors.Is(results[i], ErrUnknown) {
			winner = i // the answer to the winner was lost
		}
		if i != winner {
			return fmt.Errorf("%w: the object holds the body of a writer that was refused", ErrNotAtomic)
		}
		// A store that ignores the condition may still have been lucky above.
		late := b.Put(ctx, key, []byte("late\n"), PutOptions{IfAbsent: true})
		if late == nil {
			return fmt.Errorf("%w: an existing object was overwritten", ErrNotAtomic)
		}
		if !errors.Is(late, ErrExists) && !errors.Is(late, ErrUnknown) {
			return late
		}
		return nil
	}
	return fmt.Errorf("%w: the object holds a body that no writer sent", ErrNotAtomic)
}
