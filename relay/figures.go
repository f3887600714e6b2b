package relay

import (
	"cmp"
	"slices"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/admin"
)

// figures are what the metrics show, read when somebody asks for them.
func (n *Node) figures() admin.Figures {
	traffic := n.clients.traffic()
	f := admin.Figures{
		Connections: n.clients.len(), Documents: n.docs.Len(),
		Draining: n.life.unready(), Overloaded: n.gate.gauge.Overloaded(), Load: n.gate.gauge.Load(),
		Handshakes: n.recent.counts(), UnheededForwards: n.gate.unheeded.Load(),
		Server:   admin.ServerFigures(n.cfg.Server.Stats()),
		FramesIn: traffic.FramesIn, FramesOut: traffic.FramesOut, BytesIn: traffic.BytesIn, BytesOut: traffic.BytesOut,
		Rooms: admin.RoomFigures(n.rooms.Stats()), InFlight: n.cfg.History.InFlight(),
		NATSConnected: n.cfg.Bus.Connected(), NATS: n.cfg.Bus.Stats(),
		Strangers: len(n.cfg.Registry.Strangers()), Unheard: n.docs.Unheard(),
		History: n.watch.get(), Tenants: n.tenants(), Stores: n.cfg.stores.figures(), Kept: admin.KeptFigures(n.docs.Storing()),
		Places: admin.PlaceFigures(n.gate.places.Stats()), Carried: admin.CarriedFigures(n.carrier.Stats()),
		Moved: n.docs.Moves.Done.Load(), MoveFailures: n.docs.Moves.GivenUp.Load(),
	}
	if v, ok := n.cfg.Verifier.(interface{ Stats() authn.Stats }); ok {
		f.Tokens = admin.TokenFigures(v.Stats())
	}
	for _, license := range n.cfg.Registry.LicenseRegions() {
		f.Registries = append(f.Registries, admin.RegistryFigures{
			License: string(license), RegistryCounts: admin.RegistryCounts(n.cfg.Registry.Stats(license)),
		})
	}
	return f
}

// otherTenants stands for all tenants that are not told apart.
const otherTenants = "other"

// tenants counts by tenant, the busiest first; beyond as many as are wanted they
// are one, so that no number of tenants makes the metrics grow.
func (n *Node) tenants() []admin.TenantFigures {
	if n.cfg.Tenants == 0 {
		return nil
	}
	counts := map[docid.Tenant]*admin.TenantFigures{}
	of := func(t docid.Tenant) *admin.TenantFigures {
		if counts[t] == nil {
			counts[t] = &admin.TenantFigures{Tenant: string(t)}
		}
		return counts[t]
	}
	for _, v := range n.clients.seated() {
		of(v.doc.Tenant).Connections++
	}
	for _, d := range n.docs.All() {
		of(d.Name().Tenant).Documents++
	}
	list := make([]admin.TenantFigures, 0, len(counts))
	for _, t := range counts {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b admin.TenantFigures) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), cmp.Compare(a.Tenant, b.Tenant))
	})
	if len(list) <= n.cfg.Tenants {
		return list
	}
	others := admin.TenantFigures{Tenant: otherTenants}
	for _, t := range list[n.cfg.Tenants:] {
		others.Connections += t.Connections
		others.Documents += t.Documents
	}
	return append(list[:n.cfg.Tenants], others)
}
