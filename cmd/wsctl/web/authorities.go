package web

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
)

// Authorities are the certificate authorities of the nodes' public URLs, for the
// commands that come as clients do.
type Authorities struct{ file string }

// Register adds the flag.
func (a *Authorities) Register(fl *pflag.FlagSet) {
	fl.StringVar(&a.file, "ca", "", "file with the CA certificates of the URLs (default: the system's)")
}

// Roots are nil for the system's.
func (a *Authorities) Roots() (*x509.CertPool, error) {
	if a.file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(a.file)
	if err != nil {
		return nil, exit.WrongFlag("ca", "%v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, exit.WrongFlag("ca", "%s: expected certificates in PEM", a.file)
	}
	return pool, nil
}

// Client is an HTTP client that trusts them.
func (a *Authorities) Client() (*http.Client, error) {
	roots, err := a.Roots()
	if err != nil || roots == nil {
		return http.DefaultClient, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}, nil
}
