package frontdoor

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// unfair is who abuses a node in all ways that are known.
type unfair struct {
	t    *testing.T
	node *cluster.Node
	keys *issuer.Issuer
}

// token is a good one for a tenant.
func (u *unfair) token(tenant string, limits map[string]any) string {
	return u.keys.Token(issuer.Claims{"tenantId": tenant, "limits": limits})
}

// opening of a WebSocket and bits of a frame that only abusers need.
const (
	opPing      = 0x9
	oneClientID = 1 << 20 // from which abusers count
)

// crowdClients is how many client ids the document "crowd" has.
const crowdClients = 20_000

// prepare makes the documents that abusers need.
func (u *unfair) prepare() {
	s := join(u.t, u.node, "crowd", u.token("abuser", nil), nil)
	must(u.t, sendAll(s, appendFrame(nil, final|opBinary, clientIDs(oneClientID, crowdClients))))
	must(u.t, sendAll(s, appendFrame(nil, final|opBinary, askAll)))
	must(u.t, s.waitHolds("crowded"))
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
	assault func(s *siege, conn net.Conn) error
}

func (u *unfair) abuses() []abuse {
	stale := u.keys.Token(issuer.Claims{"tenantId": "calm", "exp": time.Now().Add(-time.Hour).Unix()})
	full := u.token("full", map[string]any{"maxConnections": 1})
	holder := join(u.t, u.node, "full", full, nil)
	u.t.Cleanup(func() { holder.Close() })
	deletes := deleteBomb(50_000)
	all := []abuse{
		{"messages that trickle", 22, u.trickle},
		{"unsigned tokens of a slow issuer", 300, func(s *siege, conn net.Conn) error { return u.knock(conn, unsigned("slow"), anyAddress()) }},
		{"the same question again and again", 4, func(s *siege, conn net.Conn) error {
			return u.flood(s, conn, "crowd", appendFrame(nil, final|opBinary, []byte{0, 0, 3, 1, 100, 0}))
		}},
		{"many client ids", 4, u.manyIDs},
		{"awareness that comes and goes", 4, u.comeAndGo},
		{"awareness updates with many entries", 2, func(s *siege, conn net.Conn) error { return u.flood(s, conn, "aware", crowdOfStates()) }},
		{"slow readers", 20, func(s *siege, conn net.Conn) error {
			return u.flood(s, conn, "crowd", appendFrame(nil, final|opBinary, []byte{0, 0, 3, 1, byte(1 + rand.IntN(100)), 0}))
		}},
		{"pings", 4, func(s *siege, conn net.Conn) error {
			return u.flood(s, conn, "pings", appendFrame(nil, final|opPing, nil))
		}},
		{"empty messages", 4, func(s *siege, conn net.Conn) error {
			return u.flood(s, conn, "empty", appendFrame(nil, final|opBinary, nil))
		}},
		{"empty fragments", 4, func(s *siege, conn net.Conn) error {
			return u.flood(s, conn, "fragments", appendFrame(nil, opContinuation, nil), appendFrame(nil, opBinary, []byte{0})...)
		}},
		{"delete bombs", 2, func(s *siege, conn net.Conn) error { return u.flood(s, conn, "bombs", deletes) }},
		{"half-open handshakes", 500, (*siege).halfHandshake},
		{"stale tabs in the office", 8, func(s *siege, conn net.Conn) error { return u.knock(conn, stale, office) }},
		{"garbage from the office", 8, func(s *siege, conn net.Conn) error { return u.knock(conn, fmt.Sprint(rand.Int()), office) }},
		{"people of the office who wait for a full app", 8, func(s *siege, conn net.Conn) error { return u.knock(conn, full, office) }},
		{"refused clients that go on sending", 4, func(s *siege, conn net.Conn) error {
			_ = u.refusedFlood(conn, stale)
			return nil
		}},
	}
	if measuring() { // to compare with
		all = append([]abuse{{"as much of honest clients", 4, u.honest}}, all...)
	}
	return all
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
	_, err := takeOver(conn, handshake(u.node.Addr, document, s.token, anyAddress()))
	return err
}

// knock tries to get in, and waits until the node has ended that.
func (u *unfair) knock(conn net.Conn, token, address string) error {
	if err := sendAll(conn, []byte(handshake(u.node.Addr, "knock", token, address))); err != nil {
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
	if err := sendAll(conn, []byte(handshake(u.node.Addr, "knock", token, anyAddress()))); err != nil {
		return err
	}
	block := bytes.Repeat(appendFrame(nil, final|opPing, nil), 3000)
	for {
		if err := sendAll(conn, block); err != nil {
			return err
		}
	}
}

// honest writes a document of its own as fast as the node takes it, a paragraph at a time.
func (u *unfair) honest(s *siege, conn net.Conn) error {
	if err := u.enter(s, conn, fmt.Sprint("honest-", rand.Int())); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the connection
	paragraph := strings.Repeat("honest work. ", 80)
	for s.ctx.Err() == nil {
		if err := sendAll(conn, appendFrame(nil, final|opBinary, insertion(rand.Uint32(), paragraph))); err != nil {
			return err
		}
	}
	return nil
}

// trickle begins a large document, and then sends a byte now and then.
func (u *unfair) trickle(s *siege, conn net.Conn) error {
	if err := u.enter(s, conn, "trickle"); err != nil {
		return err
	}
	part := 7 << 20
	if measuring() {
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
