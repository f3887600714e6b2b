package kvpin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// carrySecretKey holds what the nodes of all regions sign with when one carries a client
// to another. It is made by the first that does, and replaced when it is old: nobody signs
// with the new one before all nodes have had the time to read it. If it is deleted, all nodes
// use a new one within secretLife; until then some marks are ignored, and their clients are
// counted for the address of the node that carries them.
const carrySecretKey = carryPrefix + "secret"

const (
	secretRenewAge = 30 * 24 * time.Hour // the next signer replaces one that is older
	secretLife     = 10 * time.Minute    // how long a secret is used before it is read again
	secretNew      = 2 * secretLife      // how long the one before still signs: all have read the new one by then, though clocks differ
	secretRetry    = 2 * time.Second     // between two reads, whether the first succeeded or not
	secretAttempts = 5
)

// Secret is shared by the nodes that use a registry.
type Secret struct {
	ID   string    `json:"id"`
	Key  []byte    `json:"key"`
	Made time.Time `json:"made"` // by the clock of the node that made it
}

// secrets are those of one registry: the one to sign with, and the one before, by which
// nodes that have not looked since may still sign.
type secrets struct {
	Current  Secret  `json:"current"`
	Previous *Secret `json:"previous,omitempty"`
}

// toSign is the secret that every node knows which has read them within secretLife.
func (s *secrets) toSign() Secret {
	if s.Previous != nil && time.Since(s.Current.Made) < secretNew {
		return *s.Previous
	}
	return s.Current
}

func (s *secrets) find(id string) (Secret, bool) {
	switch {
	case s == nil:
	case s.Current.ID == id:
		return s.Current, true
	case s.Previous != nil && s.Previous.ID == id:
		return *s.Previous, true
	}
	return Secret{}, false
}

// carrySecrets are a node's view of them. Any client may send a mark with an invented id,
// before it has shown a token. So the registry is read by one goroutine at a time, and not
// again within secretRetry; callers in between are answered from what is known. None waits
// longer than the timeout of one request.
type carrySecrets struct {
	requests *requests
	reading  singleflight.Group

	mu     sync.Mutex
	known  *secrets // nil: not read yet, or there are none
	at     time.Time
	looked time.Time // when the last look ended
	failed error     // how it failed; nil: it was answered
}

// CarrySecret returns the secret to sign with, and makes one if there is none, or if the
// one that is there is old.
func (r *Registry) CarrySecret(ctx context.Context, license docid.LicenseRegion) (Secret, error) {
	b, err := r.bucket(license)
	if err != nil {
		return Secret{}, err
	}
	cs := &b.carrySecrets
	known, at := cs.get()
	if known != nil && time.Since(at) < secretLife {
		return known.toSign(), nil
	}
	looked, err := cs.look(ctx)
	if err == nil && (looked == nil || time.Since(looked.Current.Made) >= secretRenewAge) {
		for range secretAttempts {
			if looked, err = cs.make(ctx); !errors.Is(err, ErrConflict) {
				break
			}
		}
	}
	switch {
	case err == nil:
		cs.set(looked)
		return looked.toSign(), nil
	case known != nil: // of no use to others than the nodes
		return known.toSign(), nil
	}
	return Secret{}, fmt.Errorf("secret of %s: %w", license, err)
}

// CarrySecret returns the secret that nodes sign with: ErrNotFound if none has made one yet.
func (i *Inspector) CarrySecret(ctx context.Context, license docid.LicenseRegion) (Secret, error) {
	s, err := i.store(license)
	if err != nil {
		return Secret{}, err
	}
	e, err := s.Get(ctx, carrySecretKey)
	found := decodeSecrets(e)
	switch {
	case err != nil:
	case found == nil:
		err = ErrNotFound
	default:
		return found.toSign(), nil
	}
	return Secret{}, fmt.Errorf("secret of %s: %w", license, err)
}

// CarrySecretOf returns the secret with an id: ErrNotFound if the registry has none.
func (r *Registry) CarrySecretOf(ctx context.Context, license docid.LicenseRegion, id string) (Secret, error) {
	b, err := r.bucket(license)
	if err != nil {
		return Secret{}, err
	}
	cs := &b.carrySecrets
	known, at := cs.get()
	if s, ok := known.find(id); ok && time.Since(at) < secretLife {
		return s, nil
	}
	looked, err := cs.look(ctx)
	if err == nil {
		known = looked
	}
	if s, ok := known.find(id); ok {
		return s, nil
	}
	if err == nil {
		err = ErrNotFound
	}
	return Secret{}, fmt.Errorf("secret %q of %s: %w", id, license, err)
}

// look returns what the registry has, or what the last look came to if it was just now.
func (cs *carrySecrets) look(ctx context.Context) (*secrets, error) {
	if known, just, err := cs.justLooked(); just {
		return known, err
	}
	read, err, _ := cs.reading.Do("", func() (any, error) {
		if known, just, err := cs.justLooked(); just { // it ended when this caller was about to ask
			return known, err
		}
		read, _, err := cs.read(context.WithoutCancel(ctx)) // others wait for it as well
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if cs.looked, cs.failed = time.Now(), err; err == nil {
			cs.known, cs.at = read, cs.looked
		}
		return read, err
	})
	return read.(*secrets), err
}

func (cs *carrySecrets) justLooked() (known *secrets, just bool, failed error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.known, !cs.looked.IsZero() && time.Since(cs.looked) < secretRetry, cs.failed
}

func (cs *carrySecrets) get() (*secrets, time.Time) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.known, cs.at
}

func (cs *carrySecrets) set(s *secrets) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.known, cs.at = s, time.Now()
}

// read returns what the registry has; nil: nothing.
func (cs *carrySecrets) read(ctx context.Context) (*secrets, kv.Entry, error) {
	e, err := cs.requests.get(ctx, carrySecretKey)
	return decodeSecrets(e), e, err
}

// decodeSecrets returns nil if there are none, or what is there is damaged: others take
// their place.
func decodeSecrets(e kv.Entry) *secrets {
	s := new(secrets)
	if !e.Present || json.Unmarshal(e.Value, s) != nil || len(s.Current.Key) < secretBytes {
		return nil
	}
	return s
}

const secretBytes = 32

// make returns what the registry has, or writes another. Of nodes that do so at once one
// wins: ErrConflict.
func (cs *carrySecrets) make(ctx context.Context) (*secrets, error) {
	s, e, err := cs.read(ctx)
	if err != nil || s != nil && time.Since(s.Current.Made) < secretRenewAge {
		return s, err
	}
	random := make([]byte, secretBytes+8)
	_, _ = rand.Read(random) // never fails
	made := &secrets{Current: Secret{ID: hex.EncodeToString(random[secretBytes:]), Key: random[:secretBytes], Made: time.Now().UTC()}}
	if s != nil {
		made.Previous = &s.Current
	}
	value, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	_, err = cs.requests.put(ctx, carrySecretKey, value, e.Revision, 0)
	return made, err
}
