package relay

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

// usage tells an app what it uses of its plan, over all nodes and regions.
func (a *api) usage(w http.ResponseWriter, r *http.Request, address netip.Addr) {
	credentials := authn.FromRequest(r, docid.ParseQuery(r.URL.RawQuery), !a.cfg.NoQueryToken)
	grant, err := a.gate.verify(r.Context(), credentials.Token, a.gate.caller(address, nil))
	if err != nil {
		a.writeRefusal(w, r, address, err)
		return
	}
	counts, err := a.gate.usage.Of(r.Context(), grant.AppID())
	if err != nil {
		a.writeRefusal(w, r, address, err)
		return
	}
	most := plan(grant).Within(a.gate.limits.Ceilings)
	writeJSON(w, http.StatusOK, struct {
		Tenant    docid.Tenant `json:"tenantId"`
		App       docid.App    `json:"appId"`
		Usage     usageAnswer  `json:"usage"`
		Timestamp string       `json:"timestamp"`
	}{
		grant.Tenant, grant.App,
		usageAnswer{share(counts.Connections, most.MaxConnections), share(counts.Documents, most.MaxDocuments)},
		time.Now().UTC().Format(time.RFC3339),
	})
}

type usageAnswer struct {
	Connections usageShare `json:"connections"`
	Documents   usageShare `json:"documents"`
}

// usageShare is how much of a limit is used.
type usageShare struct {
	Current int     `json:"current"`
	Limit   *int    `json:"limit"` // null: no limit
	Percent float64 `json:"percent"`
	Status  string  `json:"status"`
}

func share(current, limit int) usageShare {
	s := usageShare{Current: current, Status: "healthy"}
	if limit == 0 {
		return s
	}
	s.Limit = &limit
	s.Percent = float64(int(1000*float64(current)/float64(limit)+0.5)) / 10
	switch {
	case s.Percent >= 90:
		s.Status = "critical"
	case s.Percent >= 75:
		s.Status = "warning"
	}
	return s
}
