package relay_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/natsd"
)

// A region of one node, with NATS in the same process.
func ExampleStart() {
	nats, err := natsd.Start(natsd.Config{Name: "example", Listen: "127.0.0.1:0"}) // or a cluster of your own
	check(err)
	defer nats.Close()
	verifier, err := authn.New(authn.Config{KeySet: []byte(`{"keys":[]}`)}) // your issuer's
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	node, err := relay.Start(context.Background(), relay.Options{
		Config:     relay.Config{Region: "eu-central-1", Node: "node-1", Verifier: verifier},
		PublicURL:  "ws://" + listener.Addr().String(),
		Listener:   listener,
		NATS:       bus.ConnectConfig{URL: nats.URL()},
		Registries: map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: nats.URL(), Create: true}},
		Registerer: prometheus.NewRegistry(), // your own
	})
	check(err)
	fmt.Println(status("http://" + listener.Addr().String() + "/health"))
	check(node.Close(context.Background()))
	// Output: 200 OK
}

// status asks a URL, over a connection that is not kept.
func status(url string) string {
	answer, err := http.Get(url)
	check(err)
	check(answer.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	return answer.Status
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
