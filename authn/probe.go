package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Probe is what an issuer answers to somebody who only looks.
type Probe struct {
	// Keys are those that tokens can be verified with. An issuer that has a key set for
	// each tenant is asked for one that does not exist, and may have none: -1.
	Keys int
	// Date is the issuer's clock, in whole seconds; zero if it does not say, or if the
	// keys are in a file.
	Date time.Time
}

// probedTenant stands where a tenant does in the URL of an issuer with a key set for
// each.
const probedTenant = "wsnode-check"

// Ask fetches keys as a Verifier of this configuration would, and remembers nothing.
func Ask(ctx context.Context, c Config) (p Probe, err error) {
	c = c.withDefaults()
	k, err := newKeyring(c)
	if err != nil {
		return p, err
	}
	defer k.close()
	if k.fixed != nil {
		_, keys, err := k.fixed.fetch(ctx)
		return Probe{Keys: len(keys)}, err
	}
	address, _ := k.where.of(probedTenant)
	client := *k.client
	client.Transport = dated{client.Transport, &p.Date}
	_, keys, err := fetchKeySet(ctx, &client, address)
	if errors.Is(err, errNoKeySet) && k.where.perTenant() {
		p.Keys = -1
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("fetch keys from %s: %w", withoutSecrets(address), err)
	}
	p.Keys = len(keys)
	return p, nil
}

// dated notes the date of answers.
type dated struct {
	http.RoundTripper
	date *time.Time
}

func (d dated) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.RoundTripper.RoundTrip(r)
	if err == nil {
		*d.date, _ = http.ParseTime(answer.Header.Get("Date")) // zero if there is none
	}
	return answer, err
}
