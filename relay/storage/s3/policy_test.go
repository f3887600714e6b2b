package s3_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/s3"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// policed is a way to the server that lets pass what the policies of deploy/store allow, as S3
// would: the server of the tests knows no policies.
type policed struct {
	http.Handler
	allowed map[string]string // resource by action, where '*' is at the end

	mu     sync.Mutex
	used   map[string]bool
	denied []string
}

// byPolicies puts the policies of files in front of the server.
func byPolicies(t *testing.T, s *server, files ...string) (*policed, s3.Config) {
	t.Helper()
	p := &policed{Handler: s.wire, allowed: map[string]string{}, used: map[string]bool{}}
	for _, file := range files {
		text, err := os.ReadFile("../../../deploy/store/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var policy struct {
			Statement []struct{ Action, Resource any }
		}
		own := strings.NewReplacer("BUCKET", bucket, "PREFIX", s.config().Prefix).Replace(string(text))
		if err := json.Unmarshal([]byte(own), &policy); err != nil {
			t.Fatal(err)
		}
		for _, statement := range policy.Statement {
			actions, several := statement.Action.([]any)
			if !several {
				actions = []any{statement.Action}
			}
			for _, action := range actions {
				p.allowed[fmt.Sprint(action)+" "+fmt.Sprint(statement.Resource)] = fmt.Sprint(statement.Resource)
			}
		}
	}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	c := s.config()
	c.Endpoint = front.URL
	return p, c
}

// asks are the actions of a request, each with its resource.
func asks(r *http.Request) (found [][2]string) {
	query := r.URL.Query()
	_, key, isObject := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	const arn = "arn:aws:s3:::"
	object := arn + bucket + "/" + key
	ofVersion := func(action string) string {
		if query.Has("versionId") {
			action += "Version"
		}
		return action
	}
	switch {
	case !isObject || key == "":
		action := "s3:ListBucket"
		if query.Has("versions") {
			action = "s3:ListBucketVersions"
		} else if query.Has("versioning") {
			action = "s3:GetBucketVersioning"
		}
		return [][2]string{{action, arn + bucket}}
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return [][2]string{{ofVersion("s3:GetObject"), object}}
	case r.Method == http.MethodDelete:
		return [][2]string{{ofVersion("s3:DeleteObject"), object}}
	}
	if from := r.Header.Get("X-Amz-Copy-Source"); from != "" {
		from, version, _ := strings.Cut(from, "?")
		action := "s3:GetObject"
		if version != "" {
			action += "Version"
		}
		found = append(found, [2]string{action, arn + strings.TrimPrefix(from, "/")})
	}
	return append(found, [2]string{"s3:PutObject", object})
}

func (p *policed) allows(action, resource string) bool {
	for allowed, on := range p.allowed {
		prefix, all := strings.CutSuffix(on, "*")
		if strings.HasPrefix(allowed, action+" ") && (resource == on || all && strings.HasPrefix(resource, prefix)) {
			p.used[action] = true
			return true
		}
	}
	return false
}

func (p *policed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	for _, ask := range asks(r) {
		if !p.allows(ask[0], ask[1]) {
			p.denied = append(p.denied, fmt.Sprintf("%s on %s (%s %s)", ask[0], ask[1], r.Method, r.URL))
			p.mu.Unlock()
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
			return
		}
	}
	p.mu.Unlock()
	p.Handler.ServeHTTP(w, r)
}

// A node does all that the contract asks by the rights of the shipped policies, and the rights
// of documents are no more than it needs.
func shippedPolicies(t *testing.T, s *server) {
	s = &server{wire: s.wire, url: s.url, prefix: "by/policies"}
	p, c := byPolicies(t, s, "s3-policy.json")
	both, keeping := byPolicies(t, s, "s3-policy.json", "s3-policy-versions.json")
	keeping.Versions = 24 * time.Hour
	storagetest.Run(t, &storagetest.Harness{
		Store: open(t, c), Other: open(t, c), Versioned: open(t, keeping),
		Inject: s.wire.Inject, Large: 1 << 20,
		Plant: func(d docid.Document, body []byte) error {
			return s.put(context.Background(), storage.Key(d), string(body), nil)
		},
		Damage: func(d docid.Document) error { return s.damage(storage.Key(d)) },
	})
	for _, denied := range slices.Concat(p.denied, both.denied) {
		t.Errorf("a node wants what the policies do not allow: %s", denied)
	}
	if used := slices.Sorted(maps.Keys(p.used)); len(used) != len(p.allowed) {
		t.Errorf("of the rights of %v a node uses %v", slices.Sorted(maps.Keys(p.allowed)), used)
	}
}
