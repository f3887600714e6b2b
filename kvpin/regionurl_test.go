package kvpin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestARegionURLSaysWhereTokensGo(t *testing.T) {
	for url, right := range map[string]bool{
		"wss://eu.example": true, "ws://127.0.0.1:8080": true, "wss://eu.example/base": true, "wss://[::1]:8080": true,
		"": false, "eu.example": false, "https://eu.example": false, "wss://": false, "wss://:8080": false, "wss:eu.example": false,
		"wss://user:p@eu.example": false, "wss://eu.example@evil.example": false, "wss://eu.example?x=1": false, "wss://eu.example?": false,
		"wss://eu.example#x": false, "wss://eu example": false, "wss://eu.example\\@evil": false, "wss://eu\x00": false, `{"type":"x"}`: false,
	} {
		if err := kvpin.CheckRegionURL(url); (err == nil) != right {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestARegistryThatIsDamagedSendsNobodyAstray(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	a := open(t, server.URL, "eu-central-1", "a")
	b := open(t, server.URL, "us-east-1", "b", func(c *kvpin.Config) {
		c.RegionURLs = map[docid.Region]string{"ap-south-1": "wss://fixed.example"}
	})
	is := func(r *kvpin.Registry, region docid.Region, want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			url, err := r.RegionURL(t.Context(), region)
			if url == want && (err == nil || want == "" && errors.Is(err, kvpin.ErrNotFound)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q, %v, expected %q", region, url, err, want)
			}
		}
	}
	is(a, "us-east-1", "wss://us-east-1.example")
	js, err := jetstream.New(natstest.Connect(t, server))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "wsnode-aws-eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	set := func(region, url string) {
		t.Helper()
		if _, err := kv.PutString(t.Context(), "region."+region, url); err != nil {
			t.Fatal(err)
		}
	}
	set("ap-south-1", "wss://evil.example")
	set("us-east-1", "https://evil.example")
	set("eu-central-1", "wss://new.example")
	set("sa-east-1", `{"type":"io.nats.jetstream.api.v1.stream_msg_get_response"}`)
	is(a, "eu-central-1", "wss://new.example") // so the watch has come as far as that
	is(a, "us-east-1", "wss://us-east-1.example")
	is(b, "ap-south-1", "wss://fixed.example")
	is(a, "ap-south-1", "wss://evil.example") // it looks right: only a setting or the permissions help
	is(a, "sa-east-1", "")
	infos, err := b.Regions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if kvpin.CheckRegionURL(info.URL) != nil || info.Region == "ap-south-1" && info.URL != "wss://fixed.example" {
			t.Errorf("listed: %+v", info)
		}
	}
	_, err = kvpin.Open(context.Background(), kvpin.Config{Region: "eu-central-1", Node: "c", RegionURLs: map[docid.Region]string{"x": "https://x.example"}})
	if err == nil {
		t.Error("a setting that is no URL was taken")
	}
}
