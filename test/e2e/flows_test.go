package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// A user of the hosted service fetches /discovery at any node of any region and
// gives url to the provider, together with the document's name.
func TestDiscoveryFirst(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		first := node.Join(on(dev, cluster.US, 1, token, document))
		first.Insert(0, "from the west")
		for region := range dev.Regions {
			for n := range dev.Nodes {
				found := cluster.Discover(t, dev.HTTP(region, n), token, document)
				expected := cluster.Discovery{Region: "us-east-1", URL: dev.WS(cluster.US, 0) + "/" + document}
				if found != expected {
					t.Fatalf("node %d of region %d answers %+v, expected %+v", n, region, found, expected)
				}
				c := node.Join(yjs.Options{URL: found.URL, Document: document, Token: token, Library: library})
				c.WaitText("from the west")
			}
		}
	})
}

// The other documented flow: connect anywhere, catch 4009, and go where its
// reason says.
func TestConnectAndCatch(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		first := node.Join(on(dev, cluster.US, 0, token, document))
		first.Insert(0, "from the west")

		o := on(dev, cluster.EU, 1, token, document)
		o.Library, o.Follow = library, true
		c := node.Join(o)
		c.WaitText("from the west")
		s := c.State()
		if expected := dev.WS(cluster.US, 0) + "/" + document; len(s.Closes) != 1 || s.Closes[0] != (yjs.Close{Code: 4009, Reason: "REDIRECT:" + expected}) {
			t.Errorf("closes are %v, expected one redirect to %s", s.Closes, expected)
		}
	})
}

// A close frame holds 123 bytes of reason. A longer URL is sent without the
// document, which the provider appends anyway.
func TestRedirectThatDoesNotFitACloseFrameLeavesTheNameOut(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	node := yjs.Start(t)
	bare := "REDIRECT:" + dev.WS(cluster.US, 0)
	fits := strings.Repeat("n", 123-len(bare)-1)
	for document, reason := range map[string]string{
		fits:                      bare + "/" + fits,
		fits + "n":                bare,
		strings.Repeat("é ", 100): bare,
	} {
		document = strings.TrimSpace(document)
		node.Join(on(dev, cluster.US, 0, token, document)).Insert(0, document)
		o := on(dev, cluster.EU, 0, token, document)
		o.Follow = true
		c := node.Join(o)
		c.WaitText(document)
		if closes := c.State().Closes; len(closes) != 1 || closes[0].Reason != reason {
			t.Errorf("closes are %v, expected reason %q", closes, reason)
		}
	}
}

// Before its token expires, a client destroys its provider and puts a new one,
// with a new token, on the same Y.Doc.
func TestFreshToken(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		o := on(dev, cluster.EU, 0, dev.Token(), document)
		o.Library, o.User = library, "ann"
		a := node.Join(o)
		o.User = "bob"
		b := node.Join(o)
		a.WaitUsers(yjs.Patience, "ann", "bob")
		b.Insert(0, "before")
		a.WaitText("before")

		b.Replace(yjs.Options{Token: dev.Token("ttl", "2h")})
		b.Insert(-1, " and after")
		b.WaitSynced()
		a.WaitUsers(seen, "ann", "bob")
		a.WaitText("before and after")
		a.Insert(0, "well ")
		b.WaitText("well before and after")
	})
}

func TestTokenMayTravelInThreeWays(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		first := node.Join(on(dev, cluster.EU, 0, token, document))
		first.Insert(0, "content")
		for via, subprotocol := range map[yjs.Via]string{
			yjs.Subprotocol: "access_token",
			yjs.Bearer:      "Bearer",
			yjs.Header:      "",
			yjs.Query:       "",
			yjs.AccessToken: "",
			yjs.ServerURL:   "",
		} {
			for region := range dev.Regions {
				o := on(dev, region, 1, token, document)
				o.Library, o.Via, o.Follow = library, via, true
				c := node.Join(o)
				c.WaitText("content")
				if got := c.State().Subprotocol; got != subprotocol {
					t.Errorf("%s: the server selected subprotocol %q, expected %q", via, got, subprotocol)
				}
				c.Destroy()
			}
		}
	})
}

func TestFirstTokenPresentIsUsed(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	good, bad := dev.Token(), "not-a-token"
	shake := func(subprotocol, header, query string) cluster.Handshake {
		target, h := "/doc", http.Header{}
		if subprotocol != "" {
			h.Set("Sec-WebSocket-Protocol", "access_token, "+subprotocol)
		}
		if header != "" {
			h.Set("Authorization", "Bearer "+header)
		}
		if query != "" {
			target += "?token=" + url.QueryEscape(query)
		}
		return cluster.Shake(t, dev.Addr(cluster.EU, 0), target, h)
	}
	for _, test := range []struct {
		subprotocol, header, query string
		code                       int
	}{
		{good, bad, bad, 0},
		{bad, good, good, 4002},
		{"", good, bad, 0},
		{"", bad, good, 4002},
		{"", "", good, 0},
		{"", "", "", 4001},
	} {
		if h := shake(test.subprotocol, test.header, test.query); h.Status != http.StatusSwitchingProtocols || h.Code != test.code {
			t.Errorf("%+v: %+v", test, h)
		}
	}
}
