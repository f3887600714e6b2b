// Package carry is clients whose document is at home in another region: the node that took
// a client's socket is an ordinary client of the home, by y-websocket's wire, and relays
// messages both ways. It has no room, no store and no pin of such a document.
package carry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/carry/mark"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/roster"
	"github.com/wsnode/wsnode/relay/session"
)

// Config says how a node carries. Region, Secrets and Log are required; zero values of the
// rest mean the defaults written beside them.
type Config struct {
	Region  docid.Region
	Secrets Secrets
	Log     *slog.Logger

	MaxMessageBytes  int // 16 MiB: what a client may send, but for a SyncStep2
	MaxDocumentBytes int // 256 MiB: any message of a home
	QueueBytes       int // 1 MiB: what may wait for the side that is behind before the other is not read any more

	Transport http.RoundTripper // to other regions; nil: one of its own
}

// Carrier carries the clients of a node. Its methods may be called concurrently.
type Carrier struct {
	cfg    Config
	client *http.Client
	astray astray
	marks  marks
	links  roster.Roster[*Link]

	dials      [dialOutcomes]atomic.Int64
	toClients  atomic.Int64 // bytes
	toHomes    atomic.Int64
	arrived    atomic.Int64 // clients that another region carries here
	unverified atomic.Int64 // of these, such whose mark is no node's
}

// New makes the carrier of a node.
func New(cfg Config) *Carrier {
	if cfg.MaxMessageBytes == 0 {
		cfg.MaxMessageBytes = 16 << 20
	}
	if cfg.MaxDocumentBytes == 0 {
		cfg.MaxDocumentBytes = 256 << 20
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 1 << 20
	}
	if cfg.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableKeepAlives = true // a socket that was upgraded is never used again
		cfg.Transport = transport
	}
	return &Carrier{
		cfg: cfg,
		client: &http.Client{
			Transport: cfg.Transport,
			// A client's token goes where the registry says and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Request is a client to be carried.
type Request struct {
	Home    docid.Region
	URL     string // of the document there, by the registry
	License docid.LicenseRegion
	Token   string

	Address   netip.Addr // the client's
	Origin    string
	UserAgent string

	ReadOnly bool
	Conn     *conn.Conn // the client's
	Channel  *session.Channel
}

// EndedError is how a home refused a client, or ended its session.
type EndedError struct {
	Code   int
	Reason string
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("the home closed with %d %q", e.Code, e.Reason)
}

// Final reports whether dialling again cannot help.
func (e *EndedError) Final() bool {
	switch e.Code {
	case closecode.Redirect:
		return false
	case closecode.Text, closecode.Malformed, closecode.TooLarge:
		return true
	}
	return e.Code >= closecode.NoToken && e.Code <= closecode.Users || closecode.Permanent(e.Code)
}

// ErrAstray is returned for a home whose URL leads elsewhere.
var ErrAstray = errors.New("the URL of the document's region leads to another region")

// dialTimeout bounds one attempt to reach a home: another node of it may answer.
const dialTimeout = 5 * time.Second

// Dial takes a client to its document's home. It returns once the home has let the client
// in, or *EndedError if it refused. Nothing is sent to the client before Start.
func (c *Carrier) Dial(ctx context.Context, r Request) (*Link, error) {
	if c.astray.is(r.Home) {
		c.dials[dialAstray].Add(1)
		return nil, fmt.Errorf("%w: %s", ErrAstray, r.Home)
	}
	l, outcome, err := c.dial(ctx, r)
	c.dials[outcome].Add(1)
	if outcome == dialAstray {
		if c.astray.note(r.Home) {
			c.cfg.Log.Error("the URL of a region leads to another region: its documents are not carried for a while; see wsctl regions list",
				"region", r.Home, "url", r.URL, "pause", astrayPause.String())
		}
		err = fmt.Errorf("%w: %s", ErrAstray, r.Home)
	}
	return l, err
}

func (c *Carrier) dial(ctx context.Context, r Request) (*Link, dialOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	header := http.Header{}
	header.Set("Authorization", "Bearer "+r.Token)
	for name, value := range map[string]string{"Origin": r.Origin, "User-Agent": r.UserAgent} {
		if value != "" {
			header.Set(name, value)
		}
	}
	header.Set(mark.Header, c.mark(ctx, r))
	l := newLink(c, r)
	ws, response, err := websocket.Dial(ctx, r.URL+"?elsewhere=redirect", &websocket.DialOptions{
		HTTPClient: c.client, HTTPHeader: header,
		OnPingReceived: func(context.Context, []byte) bool { l.hear(); return true },
	})
	switch {
	case err != nil && response != nil && response.StatusCode == http.StatusMisdirectedRequest:
		return nil, dialAstray, err
	case err != nil:
		return nil, dialFailed, fmt.Errorf("dial region %s: %w", r.Home, err)
	}
	ws.SetReadLimit(int64(c.cfg.MaxDocumentBytes) + framing)
	l.ws = ws
	// A home greets whom it lets in, and closes on others.
	kind, first, err := ws.Read(ctx)
	if err == nil && kind != websocket.MessageBinary {
		err = errText
	}
	if err != nil {
		_ = ws.CloseNow()
		if ended := endOf(err); ended != nil {
			return nil, c.judge(r, ended), ended
		}
		return nil, dialFailed, fmt.Errorf("region %s: %w", r.Home, err)
	}
	l.first = first
	return l, dialCarried, nil
}

var errText = errors.New("text frame")

// framing is what a message may have besides what is limited.
const framing = 64

// judge says what an end before the first message means. A redirect to the very URL that
// was dialled comes from a node of another region: the URL is wrong.
func (c *Carrier) judge(r Request, e *EndedError) dialOutcome {
	to, redirects := strings.CutPrefix(e.Reason, "REDIRECT:")
	switch {
	case redirects && e.Code == closecode.Redirect && (to == r.URL || strings.HasPrefix(r.URL, to+"/")):
		return dialAstray
	case e.Final():
		return dialRefused
	}
	return dialFailed
}

// endOf is what the home's close frame said; nil: it sent none.
func endOf(err error) *EndedError {
	if ended := (*EndedError)(nil); errors.As(err, &ended) {
		return ended
	}
	var said websocket.CloseError
	if errors.As(err, &said) {
		return &EndedError{int(said.Code), said.Reason}
	}
	return nil
}

// dialOutcome is what became of an attempt to reach a home.
type dialOutcome int

const (
	dialCarried dialOutcome = iota
	dialRefused             // the home refuses the client
	dialFailed              // another attempt may help
	dialAstray
	dialOutcomes
)

// Stats are a carrier's figures for operators.
type Stats struct {
	Links                                int // clients that are carried now
	Queued                               int // bytes from homes that wait for them
	Carried, Refused, Failed, Astray     int64
	BytesToClients, BytesToHomes         int64
	Arrived, Unverified, AddressUnsigned int64
}

// Stats returns the figures as they are now.
func (c *Carrier) Stats() Stats {
	links, queued := c.links.All(), 0
	for _, l := range links {
		queued += l.down.size()
	}
	return Stats{
		Links: len(links), Queued: queued,
		Carried: c.dials[dialCarried].Load(), Refused: c.dials[dialRefused].Load(), Failed: c.dials[dialFailed].Load(), Astray: c.dials[dialAstray].Load(),
		BytesToClients: c.toClients.Load(), BytesToHomes: c.toHomes.Load(),
		Arrived: c.arrived.Load(), Unverified: c.unverified.Load(), AddressUnsigned: c.marks.unsigned.Load(),
	}
}
