package authn

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// keyFile is a key set in a file, as an operator changes it.
type keyFile struct {
	t    *testing.T
	name string
}

func newKeyFile(t *testing.T) keyFile {
	return keyFile{t, filepath.Join(t.TempDir(), "jwks.json")}
}

func (f keyFile) write(text []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.name, text, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// issuer makes an issuer and a token of its.
func (f keyFile) issuer() (*Issuer, string) {
	f.t.Helper()
	issuer, err := NewIssuer(nil, "")
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := issuer.Mint(Subject{Tenant: "acme", App: "notes", License: "aws-eu-west-1"})
	if err != nil {
		f.t.Fatal(err)
	}
	return issuer, token
}

func (f keyFile) verifier() *Verifier {
	f.t.Helper()
	v, err := New(Config{KeyFile: f.name})
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func TestAKeyFileThatChangesIsReadAgainInTime(t *testing.T) {
	f := newKeyFile(t)
	synctest.Test(t, func(t *testing.T) {
		first, firstToken := f.issuer()
		second, secondToken := f.issuer()
		f.write(first.JWKS())
		v := f.verifier()
		defer v.Close()
		if _, err := v.Verify(t.Context(), firstToken); err != nil {
			t.Fatal(err)
		}
		f.write(second.JWKS())
		time.Sleep(lookAtFile)
		if _, err := v.Verify(t.Context(), firstToken); err == nil {
			t.Error("a key that was taken out of the file is good, because its token is remembered")
		}
		if _, err := v.Verify(t.Context(), secondToken); err != nil {
			t.Error(err)
		}
		// What cannot be read leaves the keys as they were.
		for _, broken := range []string{"", "{", `{"keys":[]}`, "-----BEGIN PUBLIC KEY-----"} {
			f.write([]byte(broken))
			time.Sleep(lookAtFile)
			if _, err := v.Verify(t.Context(), secondToken); err != nil {
				t.Errorf("%q: %v", broken, err)
			}
		}
		f.write(first.JWKS())
		time.Sleep(2 * lookAtFile) // the pause after a failure, too
		if _, err := v.Verify(t.Context(), firstToken); err != nil {
			t.Error(err)
		}
	})
}

func TestAKeyFileIsReadAgainAtOnceWhenTold(t *testing.T) {
	f := newKeyFile(t)
	first, firstToken := f.issuer()
	second, secondToken := f.issuer()
	v := f.verifier()
	defer v.Close()
	if err := v.Reload(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	f.write(first.JWKS())
	if err := v.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), firstToken); err != nil {
		t.Fatal(err)
	}
	f.write([]byte("{"))
	if err := v.Reload(); err == nil {
		t.Error("half a file was read")
	}
	if _, err := v.Verify(t.Context(), firstToken); err != nil {
		t.Error(err)
	}
	f.write(second.JWKS())
	if err := v.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), firstToken); err == nil {
		t.Error("a key that was taken out of the file is good")
	}
	if _, err := v.Verify(t.Context(), secondToken); err != nil {
		t.Error(err)
	}
}

func TestAReadThatWasOvertakenChangesNothing(t *testing.T) {
	s := &source{report: func(string, error, bool) {}, timing: timing{refresh: time.Minute, longestPause: time.Minute}}
	began := time.Now()
	s.fetchedLocked(began.Add(time.Second), []byte("newer"), nil, nil)
	s.fetchedLocked(began, []byte("older"), nil, nil)
	if string(s.set.document) != "newer" {
		t.Errorf("the keys are the %s ones", s.set.document)
	}
}
