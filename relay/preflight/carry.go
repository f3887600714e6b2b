package preflight

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/carry/mark"
)

// carriedTo returns checks that dial each region that lives as a node that carries a client
// there does: by the URL in the registry, with a mark that the registry's secret signs. A
// node's own region is left out: it need not be there yet.
func (k *registry) carriedTo(ctx context.Context, i *kvpin.Inspector, leases []kvpin.Lease) (checks []func(context.Context) []Finding) {
	regions, err := i.Regions(ctx, k.License)
	var secret kvpin.Secret // none yet, if it is not found
	if err == nil {
		secret, err = i.CarrySecret(ctx, k.License)
	}
	if err != nil && !errors.Is(err, kvpin.ErrNotFound) {
		k.add("carry", Unknown, "look again; if it stays so, see the bucket's servers", "%v", err)
		return nil
	}
	for _, r := range regions {
		if r.URL == "" || r.Status == kvpin.RegionDown || k.Node != nil && r.Region == k.Node.Region {
			continue
		}
		w := way{report: report{license: k.License}, to: r.Region, url: r.URL, secret: mark.Secret{ID: secret.ID, Key: secret.Key}, timeout: k.Timeout, older: older(leases, r.Region)}
		if k.Node != nil {
			w.from = k.Node.Region
		}
		checks = append(checks, w.check)
	}
	return checks
}

// way is a look at the way that carried clients take to a region.
type way struct {
	report
	to, from docid.Region // from is empty on an operator's machine
	older    bool         // nodes there may be of a version that cannot be asked
	url      string
	secret   mark.Secret // without an id: there is none yet
	timeout  time.Duration
}

// older reports whether a region has nodes of a version before checks of the way to it.
func older(leases []kvpin.Lease, region docid.Region) bool {
	return slices.ContainsFunc(leases, func(l kvpin.Lease) bool {
		return l.Region == region && !slices.Contains(l.Can, kvpin.CanMove) // came with the same version
	})
}

const mendWay = "see wsctl regions list, and whether the proxies on the way pass WebSockets and their headers on"

func (w way) check(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	check := "carry " + string(w.to)
	said, err := w.ask(ctx)
	refused := (*refusedError)(nil)
	switch {
	case errors.As(err, &refused) && refused.unseen && w.older:
		w.add(check, Unknown, "look again when all nodes of the region are of this version", "%s: %s, which nodes of earlier versions do not see either", w.url, refused.why)
	case errors.As(err, &refused):
		w.add(check, Wrong, refused.mend, "%s: %s", w.url, refused.why)
	case err != nil && w.from == "":
		w.add(check, Unknown, "ask a node, which is who carries: wsnode serve --check. From here: "+mendDial(err), "%s cannot be reached from this machine: %v", w.url, err)
	case err != nil:
		w.add(check, Wrong, mendDial(err), "no client can be carried to %s: %v", w.url, err)
	case said.Why != "" && w.secret.ID == "":
		w.add(check, Unknown, "look again once a node has carried a client: it makes the secret", "%s answers; the registry holds no secret yet that marks are signed with", w.url)
	case said.Why != "":
		w.add(check, Wrong, "see the clocks of both regions, whether both have the same registry, its rights (docs: permissions of NATS), and what proxies do with headers; to replace the secret, delete the key carry.secret",
			"%s does not believe who carried clients are, and counts all for the address that carries them: %s", w.url, said.Why)
	case said.Unheeded:
		w.add(check, Wrong, fmt.Sprintf("name it by --trusted-proxy at the nodes of %s", w.to),
			"carried clients are believed, but those that come to %s by the proxy %s share its address and its limits: no --trusted-proxy names it", w.url, said.Peer)
	default:
		w.add(check, OK, "", "%s takes carried clients, and believes who they are", w.url)
	}
	return w.findings
}

// refusedError is an answer of somebody who does not know what is asked; unseen: perhaps
// only because the mark did not arrive.
type refusedError struct {
	why, mend string
	unseen    bool
}

func (e *refusedError) Error() string { return e.why }

// ask dials the region, and returns what it says.
func (w way) ask(ctx context.Context) (said mark.Answer, err error) {
	m := mark.Mark{License: w.license, At: time.Now(), From: cmp.Or(w.from, "wsctl"), To: w.to, Wire: mark.Check}
	text := m.Unsigned()
	if w.secret.ID != "" {
		text = m.Sign(w.secret, mark.CheckToken)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c, response, err := websocket.Dial(ctx, w.url+"/wsnode-check?elsewhere=redirect", &websocket.DialOptions{
		HTTPClient: client,
		HTTPHeader: http.Header{mark.Header: {text}, "Authorization": {"Bearer " + mark.CheckToken}},
	})
	switch {
	case err != nil && response == nil:
		return said, err
	case err != nil:
		return w.judge(response)
	}
	defer func() { _ = c.CloseNow() }()
	_, _, err = c.Read(ctx)
	var closed websocket.CloseError
	if errors.As(err, &closed) && closed.Code == mark.CodeChecked {
		if said, err := mark.ReadAnswer([]byte(closed.Reason)); err == nil {
			return said, nil
		}
	}
	if errors.As(err, &closed) {
		err = fmt.Errorf("closed with %d %q", closed.Code, closed.Reason)
	}
	return said, &refusedError{
		fmt.Sprintf("who answers has not seen that the client is carried (%v)", err),
		"have the proxies on the way pass the header " + mark.Header + " on", true,
	}
}

// judge reads an answer that opens no connection.
func (w way) judge(response *http.Response) (said mark.Answer, _ error) {
	switch response.StatusCode {
	case http.StatusMisdirectedRequest:
		return said, &refusedError{"it leads to another region", fmt.Sprintf("wsctl regions set %s URL", w.to), false}
	case http.StatusForbidden:
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		if said, err := mark.ReadAnswer(body); err == nil && said.Why != "" {
			return said, nil
		}
	case http.StatusTooManyRequests:
		return said, &refusedError{"it is asked too often from here, or its proxies share one address", "look again in a minute; see --trusted-proxy of its nodes", false}
	}
	return said, &refusedError{fmt.Sprintf("it opens no WebSocket: %s", response.Status), mendWay, response.StatusCode == http.StatusUnauthorized}
}

// mendDial says what to do about a region that cannot be reached.
func mendDial(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return "see whether the name in the URL is right, and known here: wsctl regions list"
	case errors.As(err, &authority), errors.As(err, &host), strings.Contains(err.Error(), "x509:"), strings.Contains(err.Error(), "tls:"):
		return "see the certificate of the URL, and SSL_CERT_FILE for an own authority"
	}
	return "see whether the URL is right, nodes or proxies listen there, and the network lets the regions reach each other: wsctl regions list"
}
