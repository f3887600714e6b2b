package console

import (
	"io"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
)

func TestAnswersToSeveralQuestionsComeThroughOnePipe(t *testing.T) {
	var errs strings.Builder
	c := New(t.Context(), strings.NewReader("y\nno\nyes\nthe rest\n"), io.Discard, &errs)
	for i, declined := range []bool{false, true, false} {
		if err := c.Confirm(&ConfirmFlag{}, "Question %d?", i); (exit.Code(err) == exit.Declined) != declined || !declined && err != nil {
			t.Errorf("question %d: %v", i, err)
		}
	}
	if rest, err := io.ReadAll(c.In); string(rest) != "the rest\n" || err != nil {
		t.Errorf("%q is left, %v", rest, err)
	}
	if err := c.Confirm(&ConfirmFlag{}, "And now?"); exit.Code(err) != exit.Declined {
		t.Errorf("nobody answered: %v", err)
	}
	if asked := strings.Count(errs.String(), "[y/N] "); asked != 4 {
		t.Errorf("asked %d times: %s", asked, errs.String())
	}
}

// Whatever says something says it through Done, as watches do of what goes wrong.
func TestNothingThatIsSaidHoldsATokenOrAPassword(t *testing.T) {
	const token, jwt = "opensesame-opensesame", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
	var errs strings.Builder
	c := New(t.Context(), strings.NewReader(""), io.Discard, &errs)
	c.Hide(token)
	for _, failure := range []string{
		"ask wss://eu.example?token=" + token + ": refused", "a name " + jwt,
		`parse "nats://operator:a/opensesame@127.0.0.1": invalid port`, "ask http://127.0.0.1:1/a@b: refused",
		"connect to nats://operator:opensesame@127.0.0.1:4222,nats://opensesame@127.0.0.1:4223: refused",
	} {
		c.Done("wsctl: %s", failure)
		_ = c.Confirm(&ConfirmFlag{}, "Go on with %s?", failure)
	}
	for _, secret := range []string{"opensesame", jwt, "operator"} {
		if strings.Contains(errs.String(), secret) {
			t.Errorf("%s shows", secret)
		}
	}
	for _, kept := range []string{`parse "nats://…@127.0.0.1": invalid port`, "http://127.0.0.1:1/a@b", "wss://eu.example?token=…: refused", "nats://…@127.0.0.1:4222,nats://…@127.0.0.1:4223: refused"} {
		if strings.Count(errs.String(), kept) != 2 { // by Done, and in the question
			t.Errorf("not said: %s", kept)
		}
	}
	if t.Failed() {
		t.Log("\n" + errs.String())
	}
}
