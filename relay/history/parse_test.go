package history

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestAcknowledgementsAreRead(t *testing.T) {
	for _, c := range []struct {
		data string
		seq  uint64
		err  error
	}{
		{`{"stream":"wsnode-history-0", "seq":17}`, 17, nil},
		{`{"stream":"wsnode-history-0","domain":"hub","seq":18446744073709551615}`, 18446744073709551615, nil},
		{`{"seq":5,"duplicate":true,"stream":"s"}`, 5, nil},
		{`{"seq": 6,"stream":"s"}`, 6, nil},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"s","seq":0}`, 0, ErrFull},
		{`{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"},"stream":"s","seq":0}`, 0, ErrFull},
		{`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"s","seq":0}`, 0, ErrTooLarge},
		{`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"},"stream":"s","seq":0}`, 0, ErrUnavailable},
		{`{"error":{"code":429,"err_code":10167,"description":"too many requests"},"stream":"s","seq":0}`, 0, ErrUnavailable},
	} {
		seq, err := parseAck(&nats.Msg{Data: []byte(c.data)})
		if seq != c.seq || !errors.Is(err, c.err) {
			t.Errorf("%s: got %d, %v", c.data, seq, err)
		}
	}
	var refused *RefusedError
	if _, err := parseAck(&nats.Msg{Data: []byte(`{"error":{"code":503,"err_code":10077,"description":"disk on fire"},"seq":0}`)}); !errors.As(err, &refused) || refused.Code != 10077 {
		t.Errorf("unknown refusal: %v", err)
	}
	for _, data := range []string{``, `{}`, `{"seq":0}`, `{"seq":-1}`, `nonsense`} {
		if seq, err := parseAck(&nats.Msg{Data: []byte(data)}); err == nil {
			t.Errorf("%q was read as %d", data, seq)
		}
	}
	nobody := &nats.Msg{Header: nats.Header{"Status": {"503"}}}
	if _, err := parseAck(nobody); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no responders: %v", err)
	}
}
