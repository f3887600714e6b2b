package authn

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Bounds of what unverified tokens can make a node do and remember. The tenants
// of a template are names that anybody can write into a token.
const (
	maxProven         = 16384 // issuers of which a token was verified
	maxUnproven       = 1024  // others
	firstPerSec       = 20.0  // fetches for issuers never asked before
	firstAtOnce       = 100.0
	longestFetchPause = time.Minute
)

// keyring has the key sets of all issuers: one, or one for each tenant.
type keyring struct {
	where  keysURL
	fixed  *source // of a key set that is given, or in a file; else nil
	client *http.Client
	timing timing
	work   *workers
	log    *slog.Logger

	fetches, failures atomic.Uint64

	mu       sync.Mutex
	proven   *lru[string, *source]
	unproven *lru[string, *source]
	budget   float64 // first fetches left
	counted  time.Time
}

func newKeyring(c Config) (*keyring, error) {
	k := &keyring{
		timing:   timing{refresh: c.Refresh, stale: max(c.MaxStale, c.Refresh), spacing: c.RefetchEvery, longestPause: longestFetchPause},
		work:     newWorkers(),
		log:      c.Log,
		proven:   newLRU[string, *source](maxProven),
		unproven: newLRU[string, *source](maxUnproven),
		budget:   firstAtOnce,
		counted:  time.Now(),
	}
	if c.KeySet != nil {
		keys, err := parseKeySet(c.KeySet)
		if err != nil {
			return nil, err
		}
		k.fixed = k.newSource("the configuration")
		k.fixed.fetch = func(context.Context) ([]byte, []*publicKey, error) { return c.KeySet, keys, nil }
		return k, nil
	}
	if file, read := c.KeyFile, readKeyFile; file != "" || c.SecretFile != "" {
		if file == "" {
			file, read = c.SecretFile, readSecretFile
		}
		k.timing = timing{refresh: lookAtFile, stale: k.timing.stale, spacing: lookAtFile, longestPause: lookAtFile}
		k.fixed = k.newSource("file://" + file)
		k.fixed.fetch = func(context.Context) ([]byte, []*publicKey, error) { return read(file) }
		return k, nil
	}
	var err error
	if k.where, err = parseKeysURL(c.JWKSURL, c.PlainHTTP); err != nil {
		return nil, err
	}
	k.client = newHTTPClient(c.Timeout)
	if c.Transport != nil {
		k.client.Transport = c.Transport
	}
	return k, nil
}

// source returns the issuer for a tenant.
func (k *keyring) source(t docid.Tenant, by Caller) (*source, error) {
	if k.fixed != nil {
		return k.fixed, nil
	}
	address, ok := k.where.of(t)
	if !ok {
		return nil, badClaim("tenantId", "cannot stand in the JWKS URL")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.proven.get(address); ok {
		return s, nil
	}
	if s, ok := k.unproven.get(address); ok {
		return s, nil
	}
	if by.MayFetch != nil && !by.MayFetch() {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ErrTooManyIssuers)
	}
	if !k.spendLocked(time.Now()) {
		return nil, fmt.Errorf("%w: too many issuers asked at once", ErrUnavailable)
	}
	s := k.newSource(address)
	k.unproven.put(address, s)
	return s, nil
}

func (k *keyring) newSource(address string) *source {
	s := &source{address: address, timing: k.timing, work: k.work, report: k.report, budget: burst, counted: time.Now(), maxWaiting: maxWaiting}
	if k.where.perTenant() {
		s.maxWaiting = maxWaitingFor
	}
	s.fetch = func(ctx context.Context) ([]byte, []*publicKey, error) {
		document, keys, err := fetchKeySet(ctx, k.client, address)
		k.fetches.Add(1)
		if err != nil {
			k.failures.Add(1)
		}
		return document, keys, err
	}
	return s
}

// spendLocked takes one first fetch from the budget.
func (k *keyring) spendLocked(now time.Time) bool {
	k.budget = min(firstAtOnce, k.budget+now.Sub(k.counted).Seconds()*firstPerSec)
	k.counted = now
	if k.budget < 1 {
		return false
	}
	k.budget--
	return true
}

// prove notes that a token of the issuer was verified: it is real, and keeps its
// place whatever tenants others make up.
func (k *keyring) prove(s *source) {
	if k.fixed != nil {
		return
	}
	s.mu.Lock()
	s.proven = true
	s.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unproven.remove(s.address)
	k.proven.put(s.address, s)
}

// report logs the first of a row of failures, and their end. Issuers that never
// answered are not worth a line by themselves: their tenants may be made up.
func (k *keyring) report(address string, err error, cached bool) {
	switch {
	case err == nil:
		k.log.Info("issuer answers again", "jwks", withoutSecrets(address))
	case cached || !k.where.perTenant():
		k.log.Warn("cannot fetch the issuer's keys", "jwks", withoutSecrets(address), "cached", cached, "err", err)
	default:
		k.log.Debug("cannot fetch the issuer's keys", "jwks", withoutSecrets(address), "err", err)
	}
}

// len is the number of issuers that are known, good or not.
func (k *keyring) len() int {
	if k.fixed != nil {
		return 1
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.proven.items) + len(k.unproven.items)
}

func (k *keyring) close() {
	k.work.close()
	if k.client != nil {
		k.client.CloseIdleConnections()
	}
}
