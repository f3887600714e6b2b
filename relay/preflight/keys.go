package preflight

import (
	"context"
	"errors"
	"time"

	"github.com/wsnode/wsnode/authn"
)

// Keys are those that tokens are signed with.
type Keys struct {
	Config  authn.Config
	Timeout time.Duration // 0: DefaultTimeout
	Now     Now
}

// Check looks whether there are some, and at the issuer's clock: tokens begin and end by
// the one's and are judged by the other's.
func (k Keys) Check(ctx context.Context) []Finding {
	r := &report{}
	ctx, cancel := context.WithTimeout(ctx, max(k.Timeout, DefaultTimeout))
	defer cancel()
	sent := k.Now.now()
	probe, err := authn.Ask(ctx, k.Config)
	half := k.Now.now().Sub(sent) / 2
	name, many := "JWKS", "key"
	if k.Config.SecretFile != "" {
		name, many = "HS256 secret", "secret"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.add(name, Wrong, "see whether the network allows it, and --jwks-url", "no answer in time: %v", err)
	case err != nil && k.Config.SecretFile != "":
		r.add(name, Wrong, "see --hs256-secret-file: no token is taken without it", "%v", err)
	case err != nil:
		r.add(name, Wrong, "see --jwks-url or --jwks-file, whether the issuer runs, and whether the network allows it: no token is taken without its keys", "%v", err)
	case probe.Keys < 0:
		r.add(name, OK, "", "the issuer answers; each tenant has keys of its own")
	case probe.Keys == 0:
		r.add(name, Wrong, "publish the issuer's keys there", "it holds no key that tokens can be verified with")
	default:
		r.add(name, OK, "", "%s", plural(probe.Keys, many))
	}
	if err == nil && !probe.Date.IsZero() {
		// The issuer tells whole seconds, of which the middle is the best guess.
		const half2 = 500 * time.Millisecond
		r.clock("clock of the issuer", "the issuer's", probe.Date.Add(half2).Sub(sent.Add(half)), half+half2)
	}
	return r.findings
}
