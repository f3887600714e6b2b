package bus_test

import (
	"crypto/tls"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestEncryptedConnectionsWorkTheSame(t *testing.T) {
	own := natstest.NewCertificate(t)
	servers := natstest.Server(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{own.Pair}}
		o.TLSTimeout = 10
	})
	connect := bus.ConnectConfig{URL: servers.URL, TLS: &tls.Config{RootCAs: own.Roots}}
	a, b := openWith(t, connect, bus.Config{}), openWith(t, connect, bus.Config{})
	came := collect(t, b, "x")
	large := string(make([]byte, a.MaxPayload()))
	for range 20 {
		publish(t, a, "x", large)
	}
	for range 20 {
		expect(t, came, message{"x", "", large})
	}
}
