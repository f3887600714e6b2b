package main

import (
	"math"
	"time"
)

// Deployment is what is simulated: how much there is, and what people do. The
// rules that pods follow are not here: they are the product's, see rules.go.
type Deployment struct {
	Regions int
	Pods    int   // of each region, at most maxPods
	Shares  []int // of the license regions, in tenths of the documents
	Live    int   // documents that are open in a region at any moment

	// The audience of a document is the mean number of sessions that it has, over
	// all time. It follows a Pareto distribution: most documents are open now and
	// then by one person, a few always by many.
	LeastAudience, MostAudience, Tail float64

	// ByDocument has the balancer send all sessions of a document to one pod, by a
	// hash of the path, instead of each to any.
	ByDocument bool

	Stay       time.Duration // mean length of a session, exponentially distributed
	Reload     float64       // share of the sessions that end in a page reload
	Discovery  float64       // share of the connects that ask /discovery first
	Astray     float64       // share of the discoveries asked of another region than the document's
	Typing     float64       // share of the sessions that type at any moment
	MostTyping int           // of one document: a crowd reads
	Keys       float64       // updates per second and session that types
	Cursors    float64       // awareness updates per second and session that types

	Window time.Duration // how long is simulated
	Seed   uint64
}

// design is the deployment that the design names: 1,000 pods, 100 regions, 10
// million live documents.
func design() Deployment {
	return Deployment{
		Regions: 100, Pods: 10, Shares: []int{3, 2, 2, 1, 1, 1}, Live: 100_000,
		LeastAudience: 0.25, MostAudience: 2000, Tail: 1.5,
		Stay: 20 * time.Minute, Reload: 0.1, Discovery: 1, Astray: 0.2,
		Typing: 0.05, MostTyping: 20, Keys: 4, Cursors: 4,
		Window: 150 * time.Second, Seed: 1,
	}
}

// catalogue is the documents of a region and how likely each is to be visited
// next. All regions have the same.
type catalogue struct {
	audience []float64
	total    float64 // of all audiences
	// Walker's alias method: a document is drawn in constant time.
	keep  []float64
	other []uint32
}

// newCatalogue makes as many documents as are needed for the wanted number to be
// live: a document is without a session for exp(-audience) of the time.
func newCatalogue(d Deployment) *catalogue {
	audience := func(quantile float64) float64 {
		return min(d.LeastAudience*math.Pow(quantile, -1/d.Tail), d.MostAudience)
	}
	live, samples := 0.0, 10_000
	for i := range samples {
		live += 1 - math.Exp(-audience((float64(i)+0.5)/float64(samples)))
	}
	n := int(math.Round(float64(d.Live) * float64(samples) / live))
	c := &catalogue{audience: make([]float64, n), keep: make([]float64, n), other: make([]uint32, n)}
	for i := range c.audience {
		c.audience[i] = audience((float64(i) + 0.5) / float64(n))
		c.total += c.audience[i]
	}
	var small, large []int
	for i, a := range c.audience {
		c.keep[i] = a * float64(n) / c.total
		if c.keep[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		c.other[s] = uint32(l)
		if c.keep[l] -= 1 - c.keep[s]; c.keep[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // left by rounding
		c.keep[i] = 1
	}
	return c
}
