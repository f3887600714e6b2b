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
// to another. It is made by the first that does. If it is deleted, all nodes use a new one
// within secretLife; until then some marks are ignored, and their clients are counted for
// the address of the node that carries them.
const carrySecretKey = carryPrefix + "secret"

const (
	secretRenewAge = 30 * 24 * time.Hour // older ones are replaced by who signs next
	secretLife     = 10 * time.Minute    // for which one that was read is used without another look
	secretRetry    = 5 * time.Second     // between two looks for one that is not there
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

// carrySecrets are a node's view of them.
type carrySecrets struct {
	requests *requests
	reading  singleflight.Group // whoever marks handshakes with ids of their own costs one read

	mu    sync.Mutex
	known *secrets // nil: not read yet
	at    time.Time
}

// CarrySecret returns the secret to sign with, and makes one if there is none, or if the
// one that is there is old.
func (r *Registry) CarrySecret(ctx context.Context, license docid.LicenseRegion) (Secret, error) {
	b, err := r.bucket(license)
	if err != nil {
		return Secret{}, err
	}
	cs := &b.carrySecrets
	if known, at := cs.get(); known != nil && time.Since(at) < secretLife {
		return known.Current, nil
	}
	for range secretAttempts {
		var made *secrets
		if made, err = cs.make(ctx); err == nil {
			cs.set(made)
			return made.Current, nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if known, _ := cs.get(); known != nil { // of no use to others than the nodes
		return known.Current, nil
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
		return found.Current, nil
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
	if time.Since(at) > secretRetry { // whoever asks for what is not there
		var read any
		read, err, _ = cs.reading.Do("", func() (any, error) {
			read, _, err := cs.read(context.WithoutCancel(ctx)) // others wait for it as well
			if err == nil {
				cs.set(read)
			}
			return read, err
		})
		if err == nil {
			known = read.(*secrets)
		}
	}
	if s, ok := known.find(id); ok {
		return s, nil
	}
	if err == nil {
		err = ErrNotFound
	}
	return Secret{}, fmt.Errorf("secret %q of %s: %w", id, license, err)
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
