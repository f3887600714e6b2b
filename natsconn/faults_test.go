package natsconn_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/wait"
)

// refusals is how many refusals a connection must outlive: nats.go alone gives up
// at the second.
const refusals = 4

// refused waits until the connection was refused often enough.
func refused(t *testing.T, c *natsconn.Conn, failures <-chan error, with error) {
	t.Helper()
	timeout := time.After(patience)
	for count := 0; count < refusals; {
		select {
		case err := <-failures:
			if errors.Is(err, with) {
				count++
			}
		case <-timeout:
			t.Fatalf("refused %d times, expected %d", count, refusals)
		}
	}
	if err := c.Ended(); err != nil {
		t.Errorf("the connection ended: %v", err)
	}
}

// again waits until the connection is there again, and the very same one.
func again(t *testing.T, c *natsconn.Conn, before *nats.Conn) {
	t.Helper()
	wait.Until(t, "connected again", func() bool { return c.NATS().IsConnected() })
	if c.NATS() != before {
		t.Error("nats.go gave the connection up meanwhile")
	}
}

func reload(t *testing.T, s *server.Server, o *server.Options) {
	t.Helper()
	if err := s.ReloadOptions(o); err != nil {
		t.Fatal(err)
	}
}

func TestAPasswordThatIsRefusedForAWhileEndsNoConnection(t *testing.T) {
	var options *server.Options
	s := natstest.Server(t, func(o *server.Options) { o.Username, o.Password, options = "wsnode", "right", o })
	c, failures := connection(t, s.URL, nats.UserInfo("wsnode", "right"))
	before := c.NATS()
	other := options.Clone()
	other.Password = "wrong"
	reload(t, s.NATS(0), other)
	refused(t, c, failures, nats.ErrAuthorization)
	reload(t, s.NATS(0), options.Clone())
	again(t, c, before)
}

func TestAnAccountThatIsRemovedForAWhileEndsNoConnection(t *testing.T) {
	var options *server.Options
	s := natstest.Server(t, func(o *server.Options) {
		a := server.NewAccount("A")
		o.Accounts = []*server.Account{a, server.NewAccount("B")}
		o.Users = []*server.User{{Username: "wsnode", Password: "p", Account: a}}
		options = o
	})
	c, failures := connection(t, s.URL, nats.UserInfo("wsnode", "p"))
	before := c.NATS()
	without := options.Clone()
	b := server.NewAccount("B")
	without.Accounts, without.Users = []*server.Account{b}, []*server.User{{Username: "other", Password: "p", Account: b}}
	reload(t, s.NATS(0), without)
	refused(t, c, failures, nats.ErrAuthorization)
	reload(t, s.NATS(0), options.Clone())
	again(t, c, before)
}

// keys makes an operator with one account.
func keys(t *testing.T) (operator *jwt.OperatorClaims, resolver *server.MemAccResolver, account nkeys.KeyPair) {
	t.Helper()
	key, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := key.PublicKey()
	token, err := jwt.NewOperatorClaims(public).Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	if operator, err = jwt.DecodeOperatorClaims(token); err != nil {
		t.Fatal(err)
	}
	if account, err = nkeys.CreateAccount(); err != nil {
		t.Fatal(err)
	}
	name, _ := account.PublicKey()
	if token, err = jwt.NewAccountClaims(name).Encode(key); err != nil {
		t.Fatal(err)
	}
	resolver = &server.MemAccResolver{}
	if err := resolver.Store(name, token); err != nil {
		t.Fatal(err)
	}
	return operator, resolver, account
}

// writeCredentials writes a file with a new user of the account.
func writeCredentials(t *testing.T, file string, account nkeys.KeyPair, life time.Duration) {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	claims := jwt.NewUserClaims(public)
	claims.Expires = time.Now().Add(life).Unix()
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	content, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsThatExpireAreReadFromTheirFileAgain(t *testing.T) {
	operator, resolver, account := keys(t)
	// Without JetStream, which in this mode wants a system account.
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		TrustedOperators: []*jwt.OperatorClaims{operator}, AccountResolver: resolver,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	writeCredentials(t, file, account, 4*time.Second)
	c, failures := connection(t, s.ClientURL(), nats.UserCredentials(file))
	before := c.NATS()
	refused(t, c, failures, nats.ErrAuthorization)
	writeCredentials(t, file, account, time.Hour)
	again(t, c, before)
}

func TestAWrongCAThatIsMendedNeedsNoRestart(t *testing.T) {
	right, wrong := natstest.NewCertificate(t), natstest.NewCertificate(t)
	s := natstest.Server(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{right.Pair}}
		o.TLSTimeout = 10
	})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, wrong.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := natstest.NewProxy(t, s.URL)
	c, err := natsconn.Open(natsconn.Config{URL: proxy.URL, Options: append(quick, nats.RootCAs(file))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wait.Until(t, "a refusal", func() bool { return errors.Is(c.NATS().LastError(), nats.ErrTLS) })
	before := c.NATS()
	if err := os.WriteFile(file, right.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	again(t, c, before)
}

func TestALameDuckIsLeft(t *testing.T) {
	s := natstest.Cluster(t, 3, func(o *server.Options) {
		o.LameDuckDuration, o.LameDuckGracePeriod = time.Second, 10*time.Millisecond
	})
	c, _ := connection(t, s.URL, nats.DontRandomize())
	before, lame := c.NATS(), c.NATS().ConnectedServerName()
	if lame != "s0" {
		t.Fatalf("connected to %s first", lame)
	}
	s.NATS(0).LameDuckShutdown()
	wait.Until(t, "another server", func() bool { return c.NATS().IsConnected() && c.NATS().ConnectedServerName() != lame })
	again(t, c, before)
}

func TestAnAddressThatResetsCostsNoDescriptors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
			taken <- struct{}{}
		}
	}()
	// The collector would close what nobody holds any more, some minutes later.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	c, err := natsconn.Open(natsconn.Config{URL: "nats://" + l.Addr().String(), Options: quick})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer func() {
		l.Close()
		for range taken { // what was accepted before
		}
	}()
	<-taken
	before := descriptors(t)
	for range 50 {
		<-taken
	}
	if after := descriptors(t); after > before+10 {
		t.Errorf("%d descriptors after 50 resets, %d before", after, before)
	}
}
