// Package authn takes a token in and gives a Grant out: it checks JSON Web
// Tokens against the key sets of their issuers and reads the claims of the
// contract's table. It also mints tokens, for development and for tests.
//
// Everything in a token is hostile until its signature is verified, and the
// tenant, which may decide where the keys are, is read before that. So every
// fetch is bounded: in size, time, number and destination.
package authn

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// DefaultAudience is the audience and the scope that tokens must have.
const DefaultAudience = "WireSocket.API"

// Config says whose tokens are accepted. One of JWKSURL, KeyFile, KeySet and
// SecretFile is required; zero values of the rest mean the defaults given.
type Config struct {
	JWKSURL   string // where the keys are; may hold {tenantId}
	KeyFile   string // a file that holds a JWKS document, read again when it changes
	KeySet    []byte // a JWKS document to use instead of fetching one
	PlainHTTP bool   // allow an http URL that is not loopback

	// SecretFile holds the secret of HS256 tokens, which are then the only ones. Whoever
	// checks such tokens can make them, so it speaks for Defaults.Tenant alone.
	SecretFile string

	Issuer   string // what iss must be; may hold {tenantId}; empty: not checked
	Audience string // default DefaultAudience; with SecretFile, Any: not checked
	Scope    string // the same
	Defaults Defaults

	Refresh      time.Duration // after which fetched keys are not used unseen; default 5 min
	MaxStale     time.Duration // for which they are while the issuer is down; default 24 h
	RefetchEvery time.Duration // how often, in the long run, an unknown key may cause a fetch; default 10 s
	Timeout      time.Duration // of one fetch; default 3 s

	MaxTokenBytes int // longer tokens are refused; default 8 KiB
	CachedTokens  int // verified tokens to remember; default 16,384; negative: none

	Transport http.RoundTripper // default: net/http's, with bounds
	Log       *slog.Logger      // issuers that fail; default: nowhere
}

// Any is the audience or scope that is not looked at.
const Any = "any"

// Defaults stand in for claims that a token does not have. Empty: it must have them.
type Defaults struct {
	Tenant  docid.Tenant
	App     docid.App
	License docid.LicenseRegion
}

// withDefaults returns the config with its zero values filled in.
func (c Config) withDefaults() Config {
	c.Audience = cmp.Or(c.Audience, DefaultAudience)
	c.Scope = cmp.Or(c.Scope, DefaultAudience)
	c.Refresh = cmp.Or(c.Refresh, 5*time.Minute)
	c.MaxStale = cmp.Or(c.MaxStale, 24*time.Hour)
	c.RefetchEvery = cmp.Or(c.RefetchEvery, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 3*time.Second)
	c.MaxTokenBytes = cmp.Or(c.MaxTokenBytes, 8<<10)
	c.CachedTokens = cmp.Or(c.CachedTokens, 16384)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	return c
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	maxToken int
	accepts  map[string]algorithm // those of public keys, or those of a secret; never both
	rules    rules
	keys     *keyring

	hits atomic.Uint64

	mu    sync.Mutex
	known *lru[[sha256.Size]byte, verified] // nil: none are remembered
}

// verified is a token whose signature was checked, by keys that were these.
type verified struct {
	grant *Grant
	from  *source
	keys  *keySet
}

// New makes a Verifier. It does no I/O; keys are fetched when a token needs
// them. Close it when done.
func New(c Config) (*Verifier, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	keys, err := newKeyring(c)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		maxToken: c.MaxTokenBytes,
		accepts:  algorithms,
		rules:    rules{issuer: pattern{c.Issuer}, audience: c.Audience, scope: c.Scope, defaults: c.Defaults},
		keys:     keys,
	}
	if c.SecretFile != "" {
		v.accepts, v.rules.only = secretAlgorithms, c.Defaults.Tenant
	}
	if c.CachedTokens > 0 {
		v.known = newLRU[[sha256.Size]byte, verified](c.CachedTokens)
	}
	return v, nil
}

// check refuses what does not go together. A verifier has public keys or a secret, so
// that no token can have the one taken for the other.
func (c Config) check() error {
	keys := c.JWKSURL != "" || c.KeyFile != "" || c.KeySet != nil
	switch {
	case !keys && c.SecretFile == "":
		return errors.New("authn: neither a JWKS URL nor a key set nor a secret is configured")
	case keys && c.SecretFile != "":
		return errors.New("authn: a secret is configured beside a key set")
	case c.SecretFile != "" && c.Defaults.Tenant == "":
		return errors.New("authn: a secret is configured, but not the tenant that it speaks for")
	case c.SecretFile == "" && (c.Audience == Any || c.Scope == Any):
		return errors.New("authn: any audience or scope is for tokens of a secret")
	}
	return nil
}

// Reload reads Config.KeyFile or Config.SecretFile now. When it cannot be read, the keys that are known
// stay in use.
func (v *Verifier) Reload() error {
	if v.keys.fixed == nil {
		return nil
	}
	return v.keys.fixed.reload(context.Background())
}

// Close ends fetches under way and waits for them. Verify goes on to work with
// the keys that are there.
func (v *Verifier) Close() { v.keys.close() }

// Verify judges a token. Its errors are ErrMissing, *InvalidError, or wrap
// ErrUnavailable. The first token of an issuer waits for its keys, at most
// Config.Timeout or until ctx ends; all others only compute, and a token that was
// verified before is not verified again while its issuer's keys are the same.
func (v *Verifier) Verify(ctx context.Context, token string) (*Grant, error) {
	return v.VerifyFor(ctx, token, Caller{})
}

// VerifyFor is Verify with a say in what the token makes the node do.
func (v *Verifier) VerifyFor(ctx context.Context, token string, by Caller) (*Grant, error) {
	if token == "" {
		return nil, ErrMissing
	}
	if len(token) > v.maxToken {
		return nil, invalid(TooLong, "longer than %d bytes", v.maxToken)
	}
	sum := sha256.Sum256([]byte(token))
	if known, ok := v.cached(sum); ok {
		keys, err := known.from.current(ctx, by)
		if err == nil && keys == known.keys {
			v.hits.Add(1)
			if err := known.grant.checkTime(time.Now()); err != nil {
				return nil, err
			}
			return known.grant, nil
		}
	}
	t, err := parseToken(token, v.accepts)
	if err != nil {
		return nil, err
	}
	grant, err := v.rules.judge(t.claims, time.Now())
	if err != nil {
		return nil, err
	}
	from, err := v.keys.source(grant.Tenant, by)
	if err != nil {
		return nil, err
	}
	keys, err := checkSignature(ctx, t, from, by)
	if err != nil {
		return nil, err
	}
	v.keys.prove(from)
	grant.User = userOf(t.claims, sum)
	v.remember(sum, verified{grant, from, keys})
	return grant, nil
}

// userOf is Grant.User. A sub is one user's within its tenant, whatever its tokens.
func userOf(c claims, token [sha256.Size]byte) uint64 {
	named := append(make([]byte, 0, 128), "user:"...) // longer ones than fit are rare
	if sub, _, err := c.text("sub"); err == nil && sub != "" {
		named = append(named, sub...)
	} else {
		named = append(named, token[:]...)
	}
	sum := sha256.Sum256(named)
	return binary.LittleEndian.Uint64(sum[:]) | 1
}

// Knows reports whether the token was verified before and is still remembered: Verify
// will hardly work for it. It does not say that the token is still good.
func (v *Verifier) Knows(token string) bool {
	if token == "" || len(token) > v.maxToken {
		return false
	}
	_, known := v.cached(sha256.Sum256([]byte(token)))
	return known
}

// checkSignature finds the key that signed the token and returns the set that it
// is in. A key that is not known may be new: the issuer is asked once more.
func checkSignature(ctx context.Context, t *unverified, from *source, by Caller) (*keySet, error) {
	keys, err := from.current(ctx, by)
	if err != nil {
		return nil, err
	}
	refused := tryKeys(t, keys)
	if refused == nil {
		return keys, nil
	}
	if t.keyID != "" && len(keys.candidates(t)) > 0 {
		return nil, refused
	}
	newer, err := from.newer(ctx, keys, by)
	if err != nil {
		return nil, err
	}
	if newer == keys {
		return nil, refused
	}
	return newer, tryKeys(t, newer)
}

// tryKeys returns nil when a key of the set made the token's signature.
func tryKeys(t *unverified, keys *keySet) error {
	candidates := keys.candidates(t)
	for _, key := range candidates {
		if key.verify(t.alg, t.signed, t.signature) == nil {
			return nil
		}
	}
	if len(candidates) > 0 {
		return invalid(Signature, "wrong")
	}
	return invalid(Signature, "no %s key %s", t.alg.name, quoted(t.keyID))
}

func (v *Verifier) cached(sum [sha256.Size]byte) (verified, bool) {
	if v.known == nil {
		return verified{}, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known.get(sum)
}

func (v *Verifier) remember(sum [sha256.Size]byte, known verified) {
	if v.known == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known.put(sum, known)
}

// Stats describe a Verifier, for metrics.
type Stats struct {
	Remembered    int    // tokens
	Cached        uint64 // tokens that were verified before
	Issuers       int    // whose keys are kept, or were asked for in vain
	Fetches       uint64 // of key sets
	FetchFailures uint64 // of these, such as brought none
}

// Stats returns what the verifier has done so far.
func (v *Verifier) Stats() Stats {
	s := Stats{Cached: v.hits.Load(), Issuers: v.keys.len(), Fetches: v.keys.fetches.Load(), FetchFailures: v.keys.failures.Load()}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known != nil {
		s.Remembered = len(v.known.items)
	}
	return s
}
