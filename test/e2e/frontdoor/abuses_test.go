package frontdoor

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/e2e/cluster"
)

// unfair is who abuses a node in all ways that are known, and what that takes: it is told
// to another process.
type unfair struct {
	Addr  string // of the node
	Good  string // a token of the abusers' tenant
	Stale string // a token of the calm tenant that has expired
	Full  string // a token of an app whose only place is taken
	Most  bool   // with default settings; else the node has an eighth of the limits
}

// opening of a WebSocket and bits of a frame that only abusers need.
const (
	opPing      = 0x9
	oneClientID = 1 << 20 // from which abusers count
)

// crowdClients is how many client ids the document "crowd" has.
const crowdClients = 20_000

// prepare makes the documents that abusers need.
func (u *unfair) prepare(t *testing.T, node *cluster.Node) {
	s := join(t, node, "crowd", u.Good, nil)
	must(t, sendAll(s, appendFrame(nil, final|opBinary, clientIDs(oneClientID, crowdClients))))
	must(t, sendAll(s, appendFrame(nil, final|opBinary, askAll)))
	must(t, s.waitHolds("crowded"))
}

// clientIDs is an update with a word of each of so many client ids.
func clientIDs(first, n int) []byte {
	update := binary.AppendUvarint(nil, uint64(n))
	for id := first + n - 1; id >= first; id-- {
		update = binary.AppendUvarint(append(update, 1), uint64(id))
		update = wire.AppendBytes(append(update, 0, contentString, 1), []byte("t"))
		update = wire.AppendBytes(update, []byte("crowded"))
	}
	return wire.AppendBytes([]byte{0, 2}, append(update, 0))
}

// abuse is one way to be unfair, by so many clients at once.
type abuse struct {
	name    string
	clients int
	like    string // the honest clients that it is compared with
	assault func(s *siege, conn net.Conn) error
}

func (u *unfair) abuses() []abuse {
	flood := func(document string, again []byte, first ...byte) func(*siege, net.Conn) error {
		return func(s *siege, conn net.Conn) error { return u.flood(s, conn, document, again, first...) }
	}
	knock := func(token func() string, address func() string) func(*siege, net.Conn) error {
		return func(_ *siege, conn net.Conn) error { return u.knock(conn, token(), address()) }
	}
	fixed := func(text string) func() string { return func() string { return text } }
	return []abuse{
		{"messages that trickle", 22, writers, u.trickle},
		{"unsigned tokens of a slow issuer", 300, visitors, knock(fixed(unsigned("slow")), anyAddress)},
		{"the same question again and again", 4, writers, flood("crowd", appendFrame(nil, final|opBinary, []byte{0, 0, 3, 1, 100, 0}))},
		{"many client ids", 4, writers, u.manyIDs},
		{"awareness that comes and goes", 4, writers, u.comeAndGo},
		{"awareness updates with many entries", 2, writers, flood("aware", crowdOfStates())},
		{"slow readers", 20, writers, func(s *siege, conn net.Conn) error {
			return u.flood(s, conn, "crowd", appendFrame(nil, final|opBinary, []byte{0, 0, 3, 1, byte(1 + rand.IntN(100)), 0}))
		}},
		{"pings", 4, writers, flood("pings", appendFrame(nil, final|opPing, nil))},
		{"empty messages", 4, writers, flood("empty", appendFrame(nil, final|opBinary, nil))},
		{"empty fragments", 4, writers, flood("fragments", appendFrame(nil, opContinuation, nil), appendFrame(nil, opBinary, []byte{0})...)},
		{"delete bombs", 2, writers, flood("bombs", deleteBomb(50_000))},
		{"half-open handshakes", 500, visitors, (*siege).halfHandshake},
		{"stale tabs in the office", 8, visitors, knock(fixed(u.Stale), fixed(office))},
		{"garbage from the office", 8, visitors, knock(func() string { return fmt.Sprint(rand.Int()) }, fixed(office))},
		{"people of the office who wait for a full app", 8, visitors, knock(fixed(u.Full), fixed(office))},
		{"refused clients that go on sending", 4, visitors, func(s *siege, conn net.Conn) error {
			_ = u.refusedFlood(conn, u.Stale)
			return nil
		}},
	}
}

func anyAddress() string {
	return fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), rand.IntN(256))
}

// unsigned is a token that names a tenant and is signed by nobody.
func unsigned(tenant string) string {
	part := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"aud":"WireSocket.API","scope":"WireSocket.API","exp":%d,"tenantId":%q,"appId":"notes","dbCode":"aws-eu-west-1"}`,
		time.Now().Add(time.Hour).Unix(), tenant)
	return part([]byte(`{"alg":"ES256","kid":"none"}`)) + "." + part([]byte(claims)) + "." + part(make([]byte, 64))
}

// enter opens a document as an abuser with a good token.
func (u *unfair) enter(s *siege, conn net.Conn, document string) error {
	_, err := takeOver(conn, handshake(u.Addr, document, s.token, anyAddress()))
	return err
}

// knock tries to get in, and waits until the node has ended that.
func (u *unfair) knock(conn net.Conn, token, address string) error {
	if err := sendAll(conn, []byte(handshake(u.Addr, "knock", token, address))); err != nil {
		return err
	}
	// A good client would answer the close frame; this one has its answer, and goes.
	_, err := conn.Read(make([]byte, 64<<10))
	return err
}

// flood sends the same bytes again and again, after some others.
func (u *unfair) flood(s *siege, conn net.Conn, document string, again []byte, first ...byte) error {
	if err := u.enter(s, conn, document); err != nil {
		return err
	}
	if err := sendAll(conn, first); err != nil {
		return err
	}
	block := again
	if len(again) < 4<<10 {
		block = bytes.Repeat(again, (16<<10)/len(again))
	}
	for s.ctx.Err() == nil {
		if err := sendAll(conn, block); err != nil {
			return err
		}
	}
	return nil
}

// refusedFlood goes on after a refusal, for as long as somebody reads.
func (u *unfair) refusedFlood(conn net.Conn, token string) error {
	if err := sendAll(conn, []byte(handshake(u.Addr, "knock", token, anyAddress()))); err != nil {
		return err
	}
	block := bytes.Repeat(appendFrame(nil, final|opPing, nil), 3000)
	for {
		if err := sendAll(conn, block); err != nil {
			return err
		}
	}
}

// trickle begins a large document, and then sends a byte now and then.
func (u *unfair) trickle(s *siege, conn net.Conn) error {
	if err := u.enter(s, conn, "trickle"); err != nil {
		return err
	}
	part := 7 << 20
	if u.Most {
		part = 50 << 20
	}
	whole := appendFrame(nil, final|opBinary, make([]byte, part+1<<20))
	copy(whole[14:], []byte{0, 1}) // a SyncStep2
	if err := sendAll(conn, whole[:part]); err != nil {
		return err
	}
	for s.sleep(3 * time.Second) {
		if err := sendAll(conn, []byte{0}); err != nil {
			return err
		}
	}
	return nil
}

// manyIDs writes as ever new clients.
func (u *unfair) manyIDs(s *siege, conn net.Conn) error {
	if err := u.enter(s, conn, fmt.Sprint("ids-", rand.Int())); err != nil {
		return err
	}
	for first := oneClientID; s.ctx.Err() == nil; first += 1000 {
		if err := sendAll(conn, appendFrame(nil, final|opBinary, clientIDs(first, 1000))); err != nil {
			return err
		}
	}
	return nil
}

// comeAndGo has ever new people come into a document, and leave it.
func (u *unfair) comeAndGo(s *siege, conn net.Conn) error {
	if err := u.enter(s, conn, "aware"); err != nil {
		return err
	}
	for id := rand.Uint64N(1 << 40); s.ctx.Err() == nil; id += 16 {
		var here, gone []awareness.Entry
		for i := range uint64(16) {
			here = append(here, awareness.Entry{Client: id + i, Clock: 1, State: []byte(`{"name":"somebody"}`)})
			gone = append(gone, awareness.Entry{Client: id + i, Clock: 2})
		}
		for _, entries := range [][]awareness.Entry{here, gone} {
			if err := sendAll(conn, appendFrame(nil, final|opBinary, wire.AppendBytes([]byte{1}, awareness.Append(nil, entries)))); err != nil {
				return err
			}
		}
	}
	return nil
}

// crowdOfStates is a message about very many people.
func crowdOfStates() []byte {
	var entries []awareness.Entry
	for i := range uint64(200_000) {
		entries = append(entries, awareness.Entry{Client: i, Clock: 1, State: []byte(`{}`)})
	}
	return appendFrame(nil, final|opBinary, wire.AppendBytes([]byte{1}, awareness.Append(nil, entries)))
}

// deleteBomb deletes every second letter of texts that nobody has.
func deleteBomb(ranges int) []byte {
	update := []byte{0, 1, 7} // no structs; deletions of one client
	update = binary.AppendUvarint(update, uint64(ranges))
	for i := range ranges {
		update = append(binary.AppendUvarint(update, uint64(2*i)), 1)
	}
	return appendFrame(nil, final|opBinary, wire.AppendBytes([]byte{0, 2}, update))
}
