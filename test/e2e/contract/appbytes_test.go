package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// section 8: the ceiling of bytes per app.
func TestTheDocumentsOfAnAppMayHaveSoManyBytesTogether(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--max-app-bytes", "20000", "--grace", "1s")
	token := keys.Token(nil)
	large := func(id uint64) []byte { return insert(id, 0, strings.Repeat("x", 12000)) }
	const reason = "App too large: limit 20000 bytes"

	a := join(t, n, token, "a")
	a.say(syncUpdate, large(1))
	a.mustHold("the first document", "xxx", true)
	b := join(t, n, token, "b")
	b.say(syncUpdate, large(2))
	b.mustBeClosed("a second document", 1009, reason)
	c := join(t, n, token, "a")
	c.say(syncStep2, large(3))
	c.mustBeClosed("more of the first document", 1009, reason)

	a.say(syncStep2, large(1)) // brings nothing new
	a.say(syncUpdate, insert(1, 12000, "and a little"))
	a.mustHold("what fits", "and a little", true)
	b = join(t, n, token, "b")
	b.mustHold("what did not fit", "xxx", false)
	b.say(syncUpdate, insert(2, 0, "small"))
	b.mustHold("what fits into the second document", "small", true)

	other := join(t, n, keys.Token(issuer.Claims{"appId": "other"}), "b")
	other.say(syncUpdate, large(2))
	other.mustHold("another app", "xxx", true)

	join(t, n, token, "b") // keeps that one open
	a.leave()
	deadline := time.Now().Add(patience) // the document is given up a moment later
	for {
		b.say(syncUpdate, insert(4, 0, strings.Repeat("y", 12000)))
		b.say(syncStep1, []byte{0})
		_, got, err := b.ws.Read(t.Context())
		for err == nil && !strings.HasPrefix(string(got), string(syncStep2)) {
			_, got, err = b.ws.Read(t.Context())
		}
		if err == nil && strings.Contains(string(got), "yyy") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a document that is closed still counts")
		}
		time.Sleep(50 * time.Millisecond)
		b = join(t, n, token, "b")
	}
}
