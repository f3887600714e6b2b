package mark

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
)

var secret = Secret{ID: "one", Key: []byte("a secret of thirty-two bytes....")}

func secretOf(_ docid.LicenseRegion, id string) (Secret, error) {
	if id != secret.ID {
		return Secret{}, errors.New("unknown")
	}
	return secret, nil
}

func written() Mark {
	return Mark{
		License: "aws-eu-west-1", At: time.Unix(time.Now().Unix(), 0), From: "us-east-1", To: "eu-central-1",
		Address: netip.MustParseAddr("2001:db8::1"), Wire: Hocuspocus,
	}
}

func TestWhatIsSignedIsRead(t *testing.T) {
	for _, address := range []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
		m := written()
		m.Address = address
		if read, err := Read(m.Sign(secret, "token"), "token", secretOf); err != nil || read != m {
			t.Errorf("%+v is read as %+v, %v", m, read, err)
		}
		if read, err := Read(m.Unsigned(), "token", secretOf); !errors.Is(err, ErrUnsigned) || read.To != m.To || read.Wire != m.Wire {
			t.Errorf("%+v unsigned is read as %+v, %v", m, read, err)
		}
	}
}

// Whatever is done to a mark, nothing but its very text is believed.
func FuzzRead(f *testing.F) {
	good := written().Sign(secret, "token")
	f.Add(good, "token")
	f.Add(good, "another")
	f.Add(written().Unsigned(), "token")
	f.Add("v1 a one 0 b c - check x", "")
	f.Fuzz(func(t *testing.T, text, token string) {
		if _, err := Read(text, token, secretOf); err == nil && (text != good || token != "token") {
			t.Errorf("%q with %q is believed", text, token)
		}
	})
}

func TestAnAnswerFitsIntoACloseFrame(t *testing.T) {
	a := Answer{Peer: netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666"), Unheeded: true}
	text := a.Text()
	if read, err := ReadAnswer([]byte(text)); err != nil || read != a || len(text) > 123 {
		t.Errorf("%q of %d bytes is read as %+v, %v", text, len(text), read, err)
	}
}
