package relay

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/carry/mark"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// Anybody can make a check, and most cannot have it believed.
func TestACheckCountsAsAHandshakeOfItsAddress(t *testing.T) {
	const may = 2
	w := newRegions(t)
	home := w.node(eu, "a", refusals(may), func(c *Config) { c.Limits.Rates.Admitted = ratelimit.Rate{Count: may, Per: time.Hour} })
	secret, err := home.cfg.Registry.CarrySecret(t.Context(), license)
	if err != nil {
		t.Fatal(err)
	}
	check := mark.Mark{License: license, At: time.Now(), From: us, To: eu, Wire: mark.Check}
	believed := check.Sign(mark.Secret{ID: secret.ID, Key: secret.Key}, mark.CheckToken)
	for i, c := range []struct {
		text string
		let  int
	}{
		{believed, http.StatusSwitchingProtocols}, {believed, http.StatusSwitchingProtocols}, {believed, http.StatusTooManyRequests},
		{check.Unsigned(), http.StatusForbidden}, {check.Unsigned(), http.StatusForbidden}, {check.Unsigned(), http.StatusTooManyRequests},
	} {
		ws, answer, err := dial(t, home.addr, "/wsnode-check", mark.CheckToken, http.Header{mark.Header: {c.text}})
		if answer == nil {
			t.Fatal(err)
		}
		if answer.StatusCode != c.let {
			t.Errorf("check %d: %d, expected %d", i, answer.StatusCode, c.let)
		}
		if err == nil {
			if code, _ := closeOf(t, ws); code != mark.CodeChecked {
				t.Errorf("check %d ends with %d", i, code)
			}
		}
	}
}

func TestACheckIsToldNothingThatIsInside(t *testing.T) {
	inside := errors.New("dial tcp 10.1.2.3:4222: connection refused")
	for why, says := range map[error]string{
		fmt.Errorf("%w: secret: %w: %w", mark.ErrSecret, kvpin.ErrUnavailable, inside): "could not be asked",
		fmt.Errorf("%w: secret: %w: %w", mark.ErrSecret, kvpin.ErrNotFound, inside):    "does not have its secret",
		fmt.Errorf("%w: %w: %w", mark.ErrSecret, kvpin.ErrNotServed, inside):           "license region",
		mark.ErrUnsigned: mark.ErrUnsigned.Error(),
	} {
		r := httptest.NewRequest(http.MethodGet, "/wsnode-check", nil)
		r.Header.Set("Authorization", "Bearer "+mark.CheckToken)
		if said := checked(&carry.Arrival{Why: why}, r, nil); !strings.Contains(said.Why, says) || strings.Contains(said.Text(), "10.1.2.3") {
			t.Errorf("%v is told as %s", why, said.Text())
		}
	}
}

// Operators name the address in --trusted-proxy: limits by the /64 are no concern of theirs.
func TestACheckIsToldTheWholeAddressOfTheLastProxy(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/wsnode-check", nil)
	r.RemoteAddr = "[2001:db8::9]:443"
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	for trusted, unheeded := range map[string]bool{"2001:db8::9/128": false, "2001:db8::8/128": true} {
		said := checked(&carry.Arrival{}, r, []netip.Prefix{netip.MustParsePrefix(trusted)})
		if said.Peer != netip.MustParseAddr("2001:db8::9") || said.Unheeded != unheeded {
			t.Errorf("with --trusted-proxy %s it is told %s", trusted, said.Text())
		}
	}
}

// The mark of a node of another make may name a whole address.
func TestACarriedClientCountsForItsNetwork(t *testing.T) {
	w := newRegions(t)
	home := w.node(eu, "a")
	secret, err := home.cfg.Registry.CarrySecret(t.Context(), license)
	if err != nil {
		t.Fatal(err)
	}
	m := mark.Mark{License: license, At: time.Now(), From: us, To: eu, Address: netip.MustParseAddr("2001:db8::9"), Wire: mark.YWebsocket}
	r := httptest.NewRequest(http.MethodGet, "/minutes", nil)
	r.Header.Set(mark.Header, m.Sign(mark.Secret{ID: secret.ID, Key: secret.Key}, "token"))
	_, address, ok := home.arrive(httptest.NewRecorder(), r, "token", netip.Addr{})
	if !ok || address != netip.MustParseAddr("2001:db8::") {
		t.Errorf("it counts for %s, %t", address, ok)
	}
}
