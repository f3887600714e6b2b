package natsflags

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAWrongFileIsAnErrorThatNamesTheFlag(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, f := range map[string]Files{
		"nats-creds": {Creds: "missing", CA: there}, "nats-ca": {CA: "missing"}, "nats-cert": {Cert: there}, "nats-key": {Cert: there, Key: "missing"},
	} {
		var wrong *Error
		if _, err := f.Options(); !errors.As(err, &wrong) || wrong.Flag != flag {
			t.Errorf("%+v: %v, expected an error of --%s", f, err, flag)
		}
	}
	all := Files{Creds: there, CA: there, Cert: there, Key: there}
	if options, err := all.Options(); err != nil || len(options) != 3 {
		t.Errorf("%d options, %v", len(options), err)
	}
}
