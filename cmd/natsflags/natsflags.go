// Package natsflags has the flags by which both commands show NATS who they are.
package natsflags

import (
	"errors"
	"os"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"
)

// Files are what a connection to NATS is made with. Empty: without it.
type Files struct{ Creds, CA, Cert, Key string }

// Register adds the flags. creds is the help of --nats-creds.
func (f *Files) Register(fl *pflag.FlagSet, creds string) {
	fl.StringVar(&f.Creds, "nats-creds", "", creds)
	fl.StringVar(&f.CA, "nats-ca", "", "file with the CA certificates of NATS")
	fl.StringVar(&f.Cert, "nats-cert", "", "client certificate for NATS")
	fl.StringVar(&f.Key, "nats-key", "", "key of the client certificate for NATS")
}

// Error is a wrong value of a flag.
type Error struct {
	Flag string // without dashes
	Err  error
}

func (e *Error) Error() string { return "--" + e.Flag + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

var errAlone = errors.New("expected together with --nats-key")

// Options are the options of a connection with the files, which must be there. Errors
// are *Error.
func (f *Files) Options() (options []nats.Option, err error) {
	for _, file := range []struct{ flag, path string }{
		{"nats-creds", f.Creds}, {"nats-ca", f.CA}, {"nats-cert", f.Cert}, {"nats-key", f.Key},
	} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			return nil, &Error{file.flag, err}
		}
	}
	if f.Creds != "" {
		options = append(options, nats.UserCredentials(f.Creds))
	}
	if f.CA != "" {
		options = append(options, nats.RootCAs(f.CA))
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, &Error{"nats-cert", errAlone}
	}
	if f.Cert != "" {
		options = append(options, nats.ClientCert(f.Cert, f.Key))
	}
	return slices.Clip(options), nil
}
