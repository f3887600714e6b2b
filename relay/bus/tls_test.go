package bus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestEncryptedConnectionsWorkTheSame(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	servers := natstest.Server(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
		o.TLSTimeout = 10
	})
	connect := bus.ConnectConfig{URL: servers.URL, TLS: &tls.Config{RootCAs: roots}}
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
