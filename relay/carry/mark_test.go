package carry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/carry/mark"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

// known are secrets by id; the first is signed with.
type known []mark.Secret

var errUnknown = errors.New("unknown")

func (k known) Secret(context.Context, docid.LicenseRegion) (mark.Secret, error) {
	if len(k) == 0 {
		return mark.Secret{}, errUnknown
	}
	return k[0], nil
}

func (k known) SecretOf(_ context.Context, _ docid.LicenseRegion, id string) (mark.Secret, error) {
	for _, s := range k {
		if s.ID == id {
			return s, nil
		}
	}
	return mark.Secret{}, errUnknown
}

func node(region docid.Region, secrets ...mark.Secret) *Carrier {
	return New(Config{Region: region, Secrets: known(secrets), Log: slog.New(slog.DiscardHandler)})
}

func arrives(t *testing.T, at *Carrier, text, token string) *Arrival {
	t.Helper()
	r := &http.Request{Header: http.Header{}}
	if text != "" {
		r.Header.Set(mark.Header, text)
	}
	return at.Marked(t.Context(), r, token)
}

func TestAMarkIsBelievedOnlyAsItWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := mark.Secret{ID: "one", Key: []byte("a secret of thirty-two bytes....")}, mark.Secret{ID: "two", Key: []byte("another one of thirty-two bytes.")}
		away, home := node("us-east-1", one), node("eu-central-1", two, one)
		r := Request{
			Home: "eu-central-1", License: "aws-eu-west-1", Token: "token", Address: netip.MustParseAddr("192.0.2.1"),
			Channel: &session.Channel{Encoding: wire.NewHocuspocus("minutes")},
		}
		text := away.mark(t.Context(), r)
		want := Arrival{From: "us-east-1", To: "eu-central-1", Address: r.Address, Counts: true}
		if a := arrives(t, home, text, "token"); a == nil || *a != want {
			t.Fatalf("%q: %+v", text, a)
		}
		if a := arrives(t, home, "", "token"); a != nil {
			t.Errorf("no mark: %+v", a)
		}
		forged := map[string]string{
			"another address": strings.Replace(text, "192.0.2.1", "192.0.2.2", 1),
			"another region":  strings.Replace(text, "us-east-1", "us-west-1", 1),
			"another wire":    strings.Replace(text, string(mark.Hocuspocus), string(mark.YWebsocket), 1),
			"another time":    strings.Replace(text, strconv.FormatInt(time.Now().Unix(), 10), strconv.FormatInt(time.Now().Unix()+1, 10), 1),
			"another secret":  strings.Replace(text, " one ", " two ", 1),
			"no secret":       strings.Replace(text, " one ", " none ", 1),
			"no signature":    text[:strings.LastIndexByte(text, ' ')+1] + "-",
			"too little":      "v1",
			"nonsense":        "x y z",
		}
		for what, text := range forged {
			if a := arrives(t, home, text, "token"); a == nil || a.From != "" || a.Address.IsValid() {
				t.Errorf("%s: %+v", what, a)
			}
		}
		if a := arrives(t, home, text, "another token"); a == nil || a.From != "" {
			t.Errorf("with another token: %+v", a)
		}
		if s := home.Stats(); s.Unverified != int64(len(forged))+1 || s.Arrived != s.Unverified+1 {
			t.Errorf("%+v", s)
		}
		check := mark.Mark{License: r.License, At: time.Now(), From: "us-east-1", To: "eu-central-1", Wire: mark.Check}
		before := home.Stats()
		if a := arrives(t, home, check.Sign(one, mark.CheckToken), mark.CheckToken); a == nil || !a.Check || a.Why != nil {
			t.Errorf("a check: %+v", a)
		}
		if a := arrives(t, home, check.Sign(two, mark.CheckToken), "another token"); a == nil || !a.Check || a.Why == nil || home.Stats() != before {
			t.Errorf("a check that is not believed: %+v, %+v", a, home.Stats())
		}
		time.Sleep(mark.Life + time.Second)
		if a := arrives(t, home, text, "token"); a == nil || a.From != "" {
			t.Errorf("an old one: %+v", a)
		}
		// Where nobody can sign, it says at least where the client was to go.
		unsigned := node("us-east-1").mark(t.Context(), r)
		if a := arrives(t, home, unsigned, "token"); a == nil || *a != (Arrival{To: "eu-central-1", Counts: true, Why: mark.ErrUnsigned}) {
			t.Errorf("unsigned: %+v", a)
		}
	})
}

func TestARegionThatIsAstrayIsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a astray
		if a.is("eu") || !a.note("eu") || a.note("eu") || !a.is("eu") || a.is("us") {
			t.Error("one that led elsewhere is not noted once")
		}
		time.Sleep(astrayPause + time.Second)
		if a.is("eu") || !a.note("eu") {
			t.Error("the pause does not end")
		}
	})
}

func TestAnAnswerIsWorthWhatWasAskedBefore(t *testing.T) {
	var a asking
	first, second := a.ask(1), a.ask(2)
	if due := a.answered(second); due != 3 {
		t.Errorf("the later answer is worth %d", due)
	}
	if due := a.answered(first); due != 0 {
		t.Errorf("an answer that comes too late is worth %d", due)
	}
	third := a.ask(1)
	a.ask(2)
	if due := a.denied(); due != 2 {
		t.Errorf("what was not taken is worth %d", due)
	}
	a.forget()
	if due := a.answered(third); due != 0 {
		t.Errorf("what was forgotten is worth %d", due)
	}
	a.note([]byte("x"))
	a.note([]byte("y"))
	a.noted([]byte("x"))
	if left := a.left(); len(left) != 1 || string(left[0]) != "y" {
		t.Errorf("%q are left", left)
	}
}

func TestWhoFillsAQueueWaitsWhileItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q toHome
		q.init(10, 100)
		if pause, _ := q.put(make([]byte, 8), 1); pause != 0 {
			t.Error("it waits below the bound")
		}
		done := make(chan time.Duration, 1)
		put := func(q *toHome, due int) {
			pause, _ := q.put(make([]byte, 8), due)
			done <- pause
		}
		go put(&q, 1)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it does not wait")
		default:
		}
		messages, due, ok := q.take()
		if len(messages) != 2 || due != 2 || !ok {
			t.Fatal(len(messages), due, ok)
		}
		q.written(8)
		if pause := <-done; pause == 0 {
			t.Error("the client would be taken for silent")
		}
		go put(&q, 0)
		synctest.Wait()
		q.close()
		<-done
		if _, _, ok := q.take(); !ok {
			t.Error("what was there is lost")
		}
		if _, _, ok := q.take(); ok {
			t.Error("there is more")
		}
		// Who is not read for long is read for one message more, so that it does not seem dead.
		var slow toHome
		slow.init(1, 10)
		start := time.Now()
		slow.put(make([]byte, 8), 0)
		if took := time.Since(start); took != waitMost {
			t.Errorf("it waits %v", took)
		}
		// But not for ever more.
		go put(&slow, 0)
		time.Sleep(10 * waitMost)
		synctest.Wait()
		select {
		case <-done:
			t.Error("a queue grows as long as its home is slow")
		default:
		}
		slow.written(8)
		<-done
	})
}
