package relay

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/apps"
)

func TestAnAppIsBoundToRegions(t *testing.T) {
	w := newRegions(t)
	bound := func(c *Config) {
		c.Apps = func(app docid.AppID) apps.Settings {
			if app.App == "notes" {
				return apps.Settings{Regions: []string{"eu-*"}}
			}
			return apps.Settings{}
		}
	}
	away := w.node(us, "b", bound, carrying)
	token := w.token(authn.Subject{})
	p := connectProvider(t, away, "/")
	free := w.token(authn.Subject{Tenant: "acme", App: "other", License: license})
	p.open("minutes", token)
	p.open("plans", free)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("another app is here", func() bool { return plans.taken == 1 })
	c := carriedClient(t, away, "minutes", token)
	if code, _ := closeOf(t, c); code != 1013 {
		t.Errorf("with no region to go to: %d", code)
	}
	home := w.node(eu, "a", bound)
	url := "REDIRECT:ws://" + w.front(eu).listener.Addr().String() + "/minutes"
	p.until("it is told where it may be", func() bool { return len(minutes.denied) == 1 })
	if minutes.denied[0] != url || len(minutes.granted) > 0 {
		t.Error(p)
	}
	c = carriedClient(t, away, "minutes", token)
	if code, reason := closeOf(t, c); code != 4009 || reason != url {
		t.Errorf("%d %q", code, reason)
	}
	if away.docs.Len() != 1 || away.carrier.Stats().Carried > 0 {
		t.Errorf("%d documents, %+v", away.docs.Len(), away.carrier.Stats())
	}
	if region, isNew := bestRegion(t, away, token); region != eu || !isNew {
		t.Errorf("it is best opened in %s, %t", region, isNew)
	}
	open(t, home, "minutes", token)
}

func bestRegion(t *testing.T, n *testNode, token string) (docid.Region, bool) {
	t.Helper()
	var found struct {
		Region docid.Region
		IsNew  bool
	}
	status, _, body := get(t, n, "/discovery?documentName=minutes", token)
	if err := json.Unmarshal(body, &found); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	return found.Region, found.IsNew
}

func TestDocumentsLeaveARegionWhereTheyMayNotBeAnyMore(t *testing.T) {
	w := newRegions(t)
	var mu sync.Mutex
	var settings apps.Settings
	changing := func(c *Config) {
		c.Apps = func(docid.AppID) apps.Settings {
			mu.Lock()
			defer mu.Unlock()
			return settings
		}
	}
	home, away := w.node(eu, "a", changing), w.node(us, "b", changing)
	token := w.token(authn.Subject{})
	p := connectProvider(t, away, "/")
	p.open("minutes", token)
	minutes := p.doc("minutes")
	p.until("it is here", func() bool { return minutes.taken == 1 })
	mu.Lock()
	settings.Regions = []string{"eu-*"}
	mu.Unlock()
	p.until("it is sent away", func() bool { return len(minutes.denied) == 1 })
	eventually(t, "it may be opened where it is sent", func() bool {
		c, _, err := dial(t, home.addr, "/minutes", token, nil)
		if err != nil {
			return false
		}
		defer func() { _ = c.CloseNow() }()
		_, first, err := c.Read(t.Context())
		return err == nil && len(first) > 0
	})
}
