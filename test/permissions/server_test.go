package permissions

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/test/natstest"
)

// passwords are those of the users in deploy/nats, by their variables.
var passwords = map[string]string{
	"NATS_POD_PASSWORD": "p1", "NATS_REGISTRY_EU_CENTRAL_1_PASSWORD": "p2", "NATS_REGISTRY_US_EAST_1_PASSWORD": "p3",
	"NATS_OPERATOR_PASSWORD": "p4", "NATS_READER_PASSWORD": "p5", "NATS_SETUP_PASSWORD": "p6",
}

// Users by their roles.
const (
	pod           = "wsnode:p1"
	registryPod   = "registry-eu-central-1:p2"
	foreignPod    = "registry-us-east-1:p3"
	operator      = "operator:p4"
	reader        = "reader:p5"
	setupHistory  = "setup-history:p6"
	setupRegistry = "setup-registry:p6"
)

// shipped is a server with the configuration in deploy/nats.
type shipped struct {
	*server.Server
	certificate *natstest.Certificate
	ca          string // its file
}

// settings sets the variables of the configuration for one server.
func settings(t testing.TB, name string, own *natstest.Certificate) {
	t.Helper()
	for variable, value := range passwords {
		t.Setenv(variable, value)
	}
	for variable, value := range map[string]string{
		"NATS_NAME": name, "NATS_LISTEN": "127.0.0.1:-1", "NATS_MONITOR": "127.0.0.1:-1", "NATS_STORE": t.TempDir(),
		"NATS_CERT": own.CertFile, "NATS_KEY": own.KeyFile, "NATS_CA": own.CertFile,
	} {
		t.Setenv(variable, value)
	}
}

// launch starts a server with a file of deploy/nats, as the variables are now.
func launch(t testing.TB, file string, configure ...func(*server.Options)) *server.Server {
	t.Helper()
	options, err := server.ProcessConfigFile(filepath.Join("..", "..", "deploy", "nats", file))
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	for _, f := range configure {
		f(options)
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server did not start")
	}
	return s
}

func ship(t testing.TB, configure ...func(*server.Options)) *shipped {
	t.Helper()
	own := natstest.NewCertificate(t)
	settings(t, "nats-0", own)
	return &shipped{launch(t, "nats.conf", configure...), own, own.CertFile}
}

// another is a further server, of its own, with the same certificate.
func (s *shipped) another(t testing.TB, name string) *shipped {
	t.Helper()
	settings(t, name, s.certificate)
	return &shipped{launch(t, "nats.conf"), s.certificate, s.ca}
}

// url is the server's for a user.
func (s *shipped) url(user string) string {
	return "tls://" + user + "@" + s.Addr().String()
}

// options are those of a user's connection, with more.
func (s *shipped) options(user string, more ...nats.Option) []nats.Option {
	return append([]nats.Option{nats.RootCAs(s.ca), nats.CustomInboxPrefix(natsconn.UserInboxes(s.url(user)))}, more...)
}

// connect connects a user.
func (s *shipped) connect(t testing.TB, user string, more ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.url(user), s.options(user, append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, more...)...)...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Split(user, ":")[0], err)
	}
	t.Cleanup(nc.Close)
	return nc
}
