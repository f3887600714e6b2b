package permissions

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/natstest"
)

// routePassword begins with a digit, so that its variable needs quotes.
const routePassword = "7r"

// knock joins a cluster by its route port as a server does, and reports whether it is
// let in, and otherwise what it is told. Without a configuration it speaks no TLS.
func knock(t *testing.T, address string, config *tls.Config, user, password string) (joined bool, answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	hello, err := json.Marshal(map[string]any{"user": user, "pass": password, "name": "stranger", "cluster": "eu-central-1", "lnoc": true, "headers": true, "dynamic": true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "CONNECT "+string(hello)+"\r\nPING\r\n"); err != nil {
		return false, err.Error()
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		answer += string(buf[:n])
		if strings.Contains(answer, "PONG\r\n") {
			return true, answer
		}
		if err != nil {
			return false, answer + err.Error()
		}
	}
}

// startCluster starts three processes with cluster.conf and returns their addresses
// for clients, and for each other.
func startCluster(t *testing.T, own *natstest.Certificate) (clients, routes []string) {
	t.Helper()
	var urls []string
	for range 3 {
		clients, routes = append(clients, cluster.FreeAddress(t)), append(routes, cluster.FreeAddress(t))
		urls = append(urls, "tls://routes:"+routePassword+"@"+routes[len(routes)-1])
	}
	all, err := json.Marshal(urls)
	if err != nil {
		t.Fatal(err)
	}
	var servers []*cluster.Process
	for i, name := range []string{"nats-0", "nats-1", "nats-2"} {
		settings(t, name, own)
		for variable, value := range map[string]string{
			"NATS_LISTEN": clients[i], "NATS_CLUSTER": "eu-central-1", "NATS_CLUSTER_LISTEN": routes[i],
			"NATS_ROUTES": string(all), "NATS_ROUTE_PASSWORD": `"` + routePassword + `"`,
		} {
			t.Setenv(variable, value)
		}
		servers = append(servers, cluster.Run(t, name, cluster.Binary(t, "github.com/nats-io/nats-server/v2"), "-c", "deploy/nats/cluster.conf"))
	}
	for _, s := range servers {
		s.WaitLine(func(line string) bool { return strings.Contains(line, "Server is ready") })
		s.WaitLine(func(line string) bool { return strings.Contains(line, "metadata leader") })
	}
	return clients, routes
}

func TestThreeServersAreAClusterThatNoStrangerJoins(t *testing.T) {
	certificate, foreign := natstest.NewCertificate(t), natstest.NewCertificate(t)
	clients, routes := startCluster(t, certificate)
	// Streams of three replicas are there only if all three are one cluster. The leader
	// may not have heard of the third server yet.
	for _, cmd := range documented(t, place{clients[0], certificate.CertFile, "3"}) {
		for deadline := time.Now().Add(time.Minute); ; {
			try := exec.Command(cmd.Path, cmd.Args[1:]...)
			try.Env = cmd.Env
			out, err := try.CombinedOutput()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v\n%s", cmd, err, out)
			}
		}
	}
	shows := func(pairs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: certificate.Roots, Certificates: pairs, ServerName: "127.0.0.1"}
	}
	own := shows(certificate.Pair)
	if ok, answer := knock(t, routes[0], own, "routes", routePassword); !ok {
		t.Errorf("a server of the cluster is refused: %s", answer)
	}
	for who, s := range map[string]struct {
		config         *tls.Config
		user, password string
		told           string
	}{
		"without TLS":                       {nil, "routes", routePassword, ""},
		"without a certificate":             {shows(), "routes", routePassword, "certificate required"},
		"with a certificate of its own":     {shows(foreign.Pair), "routes", routePassword, "tls:"},
		"with a wrong password":             {own, "routes", "r", "Authorization Violation"},
		"without a password":                {own, "", "", "Authorization Violation"},
		"with a client's name and password": {own, "wsnode", "p1", "Authorization Violation"},
	} {
		for _, address := range routes {
			if ok, answer := knock(t, address, s.config, s.user, s.password); ok || !strings.Contains(answer, s.told) {
				t.Errorf("a stranger %s: joined %v, told %q", who, ok, answer)
			}
		}
	}
}
