package preflight

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

// connect connects once: unlike a node, a check does not wait for what is not there.
func connect(url string, options []nats.Option, timeout time.Duration) (*nats.Conn, error) {
	options = append(slices.Clone(options),
		nats.Name("wsnode check"), nats.Timeout(timeout), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default writes to standard error
	)
	if url == "" { // an embedded server, which is in the options
		return nats.Connect("", options...)
	}
	return natsconn.Connect(url, options...)
}

// mendConnection says what to do about an error of connect.
func mendConnection(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch text := err.Error(); {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return "give the user and the password that the servers know, in the URL, its file or the credentials file"
	case errors.As(err, &authority), errors.As(err, &host), strings.Contains(text, "x509:"), strings.Contains(text, "tls:"), errors.Is(err, nats.ErrSecureConnWanted):
		return "see --nats-ca, the certificate of the servers, and the host in the URL, which it must name"
	}
	return "see whether NATS runs there, and whether the network allows it"
}

// apiPrefix begins the subjects of the JetStream API.
func apiPrefix(domain string) string {
	if domain == "" {
		return "$JS.API."
	}
	return "$JS." + domain + ".API."
}
