package yjs

import (
	"fmt"
	"time"
)

// Via is the way that a token travels.
type Via string

// The ways of the contract's section 3, in the forms that clients use.
const (
	Subprotocol Via = "subprotocol"  // access_token, JWT
	Bearer      Via = "bearer"       // Bearer, JWT as subprotocols
	Header      Via = "header"       // Authorization: Bearer JWT
	Query       Via = "query"        // ?token=JWT by the provider's params
	AccessToken Via = "access_token" // ?access_token=JWT by the provider's params
	ServerURL   Via = "url"          // server URL wss://region.domain?token=JWT
)

// Options are the arguments of a y-websocket provider.
type Options struct {
	URL        string            `json:"url,omitempty"`        // the server URL, to which the provider appends the document
	Document   string            `json:"name,omitempty"`       // the room name
	Token      string            `json:"token,omitempty"`      // empty: none
	Via        Via               `json:"via,omitempty"`        // default: Subprotocol
	Library    int               `json:"lib,omitempty"`        // major version of y-websocket: 3 (default) or 2
	User       string            `json:"user,omitempty"`       // awareness state {"user": …}; empty: awareness is null
	Background bool              `json:"background,omitempty"` // its intervals fire once a minute, as in a tab in the background
	Follow     bool              `json:"follow,omitempty"`     // on 4009: destroy, and open the URL of the redirect
	Keep       bool              `json:"keep,omitempty"`       // the content of what is deleted: gc is false
	Params     map[string]string `json:"params,omitempty"`     // more query parameters
	Header     map[string]string `json:"headers,omitempty"`    // more handshake headers, such as Origin
}

// Close is a close of the connection by the server.
type Close struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// State is what a client holds and has seen.
type State struct {
	Text        string   `json:"text"`
	Log         []string `json:"log"`   // the names of all edits in the document
	Typed       []string `json:"typed"` // the names of the edits made by this client
	Fingerprint string   `json:"fingerprint"`
	Pending     bool     `json:"pending"` // the document waits for missing updates
	Users       []string `json:"users"`   // who is here, oneself included
	ClientID    uint64   `json:"clientID"`
	Synced      bool     `json:"synced"`
	Connected   bool     `json:"connected"`
	Connects    int      `json:"connects"` // connections that were opened so far
	URL         string   `json:"url"`
	Subprotocol string   `json:"subprotocol"` // the one that the server selected
	Closes      []Close  `json:"closes"`
	Errors      []string `json:"errors"` // handshakes that failed without a WebSocket
}

// Client is one Y.Doc with its provider. Waiting methods fail the test when the
// awaited does not come in time.
type Client struct {
	node *Node
	id   string
}

// Patience is how long methods wait that take no duration: long enough for a
// busy machine, since a test that passes never waits so long.
const Patience = 2 * time.Minute

// Open starts a client and does not wait for its connection.
func (n *Node) Open(o Options) *Client {
	n.tb.Helper()
	n.mu.Lock()
	n.clients++
	c := &Client{n, fmt.Sprintf("c%d", n.clients)}
	n.mu.Unlock()
	n.must("open", struct {
		ID string `json:"id"`
		Options
	}{c.id, o}, nil)
	return c
}

// Join opens a client and waits until it is synced.
func (n *Node) Join(o Options) *Client {
	n.tb.Helper()
	c := n.Open(o)
	c.WaitSynced()
	return c
}

// Replace destroys the provider and puts a new one, with fresh awareness, on the
// same Y.Doc. Zero fields keep their earlier value.
func (c *Client) Replace(o Options) {
	c.node.tb.Helper()
	c.node.must("replace", struct {
		ID string `json:"client"`
		Options
	}{c.id, o}, nil)
}

func (c *Client) do(op string, args object, out any) {
	c.node.tb.Helper()
	if args == nil {
		args = object{}
	}
	args["client"] = c.id
	c.node.must(op, args, out)
}

// wait returns how long the wait took.
func (c *Client) wait(op string, within time.Duration, args object) time.Duration {
	c.node.tb.Helper()
	if args == nil {
		args = object{}
	}
	args["timeout"] = within.Milliseconds()
	var ms float64
	c.do(op, args, &ms)
	return time.Duration(ms * float64(time.Millisecond))
}

// Disconnect goes offline as provider.disconnect() does; Connect comes back.
func (c *Client) Disconnect() { c.node.tb.Helper(); c.do("disconnect", nil, nil) }

// Connect undoes Disconnect.
func (c *Client) Connect() { c.node.tb.Helper(); c.do("connect", nil, nil) }

// Destroy ends provider and document; the client cannot be used any more.
func (c *Client) Destroy() { c.node.tb.Helper(); c.do("destroy", nil, nil) }

// SetUser sets the awareness state {"user": user}, or null for "".
func (c *Client) SetUser(user string) {
	c.node.tb.Helper()
	c.do("user", object{"user": user}, nil)
}

// Insert types text at a position; -1 is the end.
func (c *Client) Insert(at int, text string) {
	c.node.tb.Helper()
	c.do("insert", object{"at": at, "text": text}, nil)
}

// Delete removes length UTF-16 units at a position.
func (c *Client) Delete(at, length int) {
	c.node.tb.Helper()
	c.do("delete", object{"at": at, "length": length}, nil)
}

// Snapshot returns what Restore shows the text by as it is now.
func (c *Client) Snapshot() (snapshot string) {
	c.node.tb.Helper()
	c.do("snapshot", nil, &snapshot)
	return snapshot
}

// Restore returns the text as it was at a snapshot, of a client with Options.Keep.
func (c *Client) Restore(snapshot string) (text string) {
	c.node.tb.Helper()
	c.do("restore", object{"snapshot": snapshot}, &text)
	return text
}

// State returns what the client holds now.
func (c *Client) State() (s State) {
	c.node.tb.Helper()
	c.do("dump", nil, &s)
	return s
}

// WaitSynced waits until the provider says that it is synced.
func (c *Client) WaitSynced() time.Duration {
	c.node.tb.Helper()
	return c.wait("synced", Patience, nil)
}

// WaitOffline waits until the connection is gone.
func (c *Client) WaitOffline() time.Duration {
	c.node.tb.Helper()
	return c.wait("offline", Patience, nil)
}

// WaitText waits until the text is exactly this.
func (c *Client) WaitText(text string) time.Duration {
	c.node.tb.Helper()
	return c.wait("text", Patience, object{"text": text})
}

// WaitUsers waits until exactly these users are here, oneself included.
func (c *Client) WaitUsers(within time.Duration, users ...string) time.Duration {
	c.node.tb.Helper()
	if users == nil {
		users = []string{}
	}
	return c.wait("users", within, object{"users": users})
}

// WaitClosed waits until the server has closed a connection with this code.
func (c *Client) WaitClosed(code int) (found Close) {
	c.node.tb.Helper()
	c.do("closed", object{"code": code, "timeout": Patience.Milliseconds()}, &found)
	return found
}

// MustStay fails the test if the connection ends, or is not there, within d. It
// takes d.
func (c *Client) MustStay(d time.Duration) {
	c.node.tb.Helper()
	c.do("stays", object{"ms": d.Milliseconds()}, nil)
}

// KeepsSeeing fails the test if it is ever not exactly these users who are here within d.
// It takes d.
func (c *Client) KeepsSeeing(d time.Duration, users ...string) {
	c.node.tb.Helper()
	c.do("keeps", object{"users": users, "ms": d.Milliseconds()}, nil)
}
