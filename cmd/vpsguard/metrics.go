package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot"
)

// The metrics. No label holds an id, a name, or anybody's words: each has a few
// values that this program has made, so that the number of series is bounded.

// metric describes one family: the README's table is made from these.
type metric struct {
	name   string
	kind   string // counter, gauge or histogram
	of     string // whose: see below
	help   string
	labels []string
	bucket []float64 // of a histogram, in seconds
}

// Whose numbers they are, and so what may be added up over replicas.
const (
	ofProcess  = "this process, since it started"
	ofChanges  = "the ledger, since this process started"
	ofLedger   = "the ledger, as it is"
	minute     = 60.0
	hour       = 60 * minute
	counter    = "counter"
	gauge      = "gauge"
	histogram  = "histogram"
	otherLabel = "other" // what is not known here, lest a label grows
)

var (
	mBuild = metric{
		name: "vpsguard_build_info", kind: gauge, of: ofProcess, labels: []string{"version", "revision", "go_version"},
		help: "1, with the version that runs.",
	}
	mCalls = metric{
		name: "vpsguard_calls_total", kind: counter, of: ofProcess, labels: []string{"door", "operation", "outcome"},
		help: "Calls through a door, by how they were answered: ok, or the kind of the error.",
	}
	mAPI = metric{
		name: "vpsguard_api_requests_total", kind: counter, of: ofProcess, labels: []string{"endpoint", "outcome"},
		help: "Requests sent to VPS.org, retries of reads included: ok, or the kind of the error.",
	}
	mAPITime = metric{
		name: "vpsguard_api_request_seconds", kind: histogram, of: ofProcess, labels: []string{"endpoint"},
		bucket: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		help:   "How long requests to VPS.org took.",
	}
	mSlack = metric{
		name: "vpsguard_slack_calls_total", kind: counter, of: ofProcess, labels: []string{"method", "outcome"},
		help: "Calls of Slack's Web API: ok, rate_limited, refused, lost, no_connection, or held_back (not sent, as its turn would have come too late).",
	}
	mSlackAgain = metric{
		name: "vpsguard_slack_retries_total", kind: counter, of: ofProcess, labels: []string{"method"},
		help: "Those of the calls that were sent again.",
	}
	mSlackOpen = metric{
		name: "vpsguard_slack_connections", kind: gauge, of: ofProcess,
		help: "Connections of Socket Mode that are open; 2 is what it should be.",
	}
	mSlackAge = metric{
		name: "vpsguard_slack_last_delivery_age_seconds", kind: gauge, of: ofProcess,
		help: "How long ago Slack has last delivered something; not there before the first time.",
	}
	mDropped = metric{
		name: "vpsguard_log_lines_dropped_total", kind: counter, of: ofProcess,
		help: "Lines that were not logged, as too many like them were.",
	}

	mChanges = metric{
		name: "vpsguard_request_changes_total", kind: counter, of: ofChanges, labels: []string{"operation", "state", "door"},
		help: "Requests that came to a state, whoever brought them there, by the door they were asked for through.",
	}
	mRefused = metric{
		name: "vpsguard_decisions_refused_total", kind: counter, of: ofChanges, labels: []string{"door", "kind"},
		help: "Decisions of people that were refused, by the door they came through and the kind of the error.",
	}
	mDecided = metric{
		name: "vpsguard_request_decided_seconds", kind: histogram, of: ofChanges, labels: []string{"operation", "decision"},
		bucket: []float64{10, 30, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 20 * minute, 30 * minute, hour, 2 * hour, 6 * hour, 24 * hour},
		help:   "From held to the decision: approved, denied, cancelled, expired or stale.",
	}
	mDone = metric{
		name: "vpsguard_request_done_seconds", kind: histogram, of: ofChanges, labels: []string{"operation", "outcome"},
		bucket: []float64{1, 10, 30, minute, 2 * minute, 5 * minute, 10 * minute, 20 * minute, 30 * minute, 45 * minute, hour, 90 * minute, 2 * hour, 6 * hour},
		help:   "From the last approval (or from filing, where none is asked for) to the end: done, failed or uncertain.",
	}

	mLedgerUp = metric{
		name: "vpsguard_ledger_up", kind: gauge, of: ofLedger,
		help: "Whether the ledger could be read for this; where it could not, the others of the ledger as it is are not there.",
	}
	mOpen = metric{
		name: "vpsguard_requests_open", kind: gauge, of: ofLedger, labels: []string{"operation", "state", "door"},
		help: "Requests that something can still come of, by the door they were asked for through.",
	}
	mOldest = metric{
		name: "vpsguard_oldest_held_age_seconds", kind: gauge, of: ofLedger,
		help: "How long the request that has waited longest for people has waited; 0 where none waits.",
	}
	mQueue = metric{
		name: "vpsguard_queue_jobs", kind: gauge, of: ofLedger, labels: []string{"kind", "state"},
		help: "Jobs in the queue that are not done. Available ones should be few, and gone within seconds.",
	}
	mHead = metric{
		name: "vpsguard_audit_head", kind: gauge, of: ofLedger,
		help: "The number of the last record of the audit.",
	}
)

// documented are all metrics of ours, in the order of the README.
var documented = []metric{
	mCalls, mAPI, mAPITime, mSlack, mSlackAgain, mSlackOpen, mSlackAge, mDropped, mBuild,
	mChanges, mRefused, mDecided, mDone,
	mOpen, mOldest, mQueue, mHead, mLedgerUp,
}

func (m metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

func (m metric) counters(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.name, Help: m.help}, m.labels)
	r.MustRegister(c)
	return c
}

func (m metric) histograms(r prometheus.Registerer) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.name, Help: m.help, Buckets: m.bucket}, m.labels)
	r.MustRegister(h)
	return h
}

// metrics are what a serving process counts. A nil one counts nothing.
type metrics struct {
	registry *prometheus.Registry
	known    []string // the operations that labels name

	calls, requests, slackCalls, slackAgain, changes, refused *prometheus.CounterVec
	took, decided, done                                       *prometheus.HistogramVec
	left                                                      prometheus.Counter
}

// newMetrics makes a registry of its own with all that is counted.
func newMetrics() *metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b := build()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: mBuild.name, Help: mBuild.help}, mBuild.labels)
	info.WithLabelValues(b.Version, b.Commit, b.Go).Set(1)
	r.MustRegister(info)
	return &metrics{
		registry: r, calls: mCalls.counters(r), requests: mAPI.counters(r), slackCalls: mSlack.counters(r),
		slackAgain: mSlackAgain.counters(r), changes: mChanges.counters(r), refused: mRefused.counters(r),
		took: mAPITime.histograms(r), decided: mDecided.histograms(r), done: mDone.histograms(r),
		left: mDropped.counters(r).WithLabelValues(),
	}
}

// api observes the requests to VPS.org, for [apiclient.Options].
func (m *metrics) api() func(endpoint string) func(apiclient.Kind) {
	if m == nil {
		return nil
	}
	return func(endpoint string) func(apiclient.Kind) {
		begun := time.Now()
		return func(k apiclient.Kind) {
			if k == "" {
				k = "ok"
			}
			m.requests.WithLabelValues(endpoint, string(k)).Inc()
			m.took.WithLabelValues(endpoint).Observe(time.Since(begun).Seconds())
		}
	}
}

// slack observes the calls of Slack's Web API, for [slackbot.PeopleOptions].
func (m *metrics) slack() func(slackbot.Sent) {
	if m == nil {
		return nil
	}
	return func(s slackbot.Sent) {
		m.slackCalls.WithLabelValues(s.Method, string(s.Outcome)).Inc()
		if s.Again {
			m.slackAgain.WithLabelValues(s.Method).Inc()
		}
	}
}

// dropped counts a line that is not logged.
func (m *metrics) dropped() func() {
	if m == nil {
		return func() {}
	}
	return m.left.Inc
}

// operation is an operation as a label: one that this version does not know is not
// named, however it came into the ledger or into a call.
func (m *metrics) operation(name string) string {
	if !slices.Contains(m.known, name) {
		return otherLabel
	}
	return name
}

// counted is the service with its calls counted.
type counted struct {
	*policy.Service
	metrics *metrics
}

// Call is [policy.Service.Call].
func (c counted) Call(ctx context.Context, call policy.Call) (policy.Outcome, error) {
	out, err := c.Service.Call(ctx, call)
	if c.metrics != nil {
		outcome := "ok"
		if err != nil {
			outcome = string(policy.KindOf(err))
		}
		c.metrics.calls.WithLabelValues(doorKey(call.Actor.Door), c.metrics.operation(call.Operation), outcome).Inc()
	}
	return out, err
}

// changed counts what a record of the ledger says about a request.
func (m *metrics) changed(n tiding) {
	if m == nil {
		return
	}
	r, b := n.about, n.record
	operation := m.operation(r.Operation)
	if b.Event == policy.EventRefused {
		m.refused.WithLabelValues(doorKey(b.By.Door), kindLabel(b.Detail["kind"])).Inc()
		return
	}
	if b.From == b.To {
		return
	}
	m.changes.WithLabelValues(operation, string(b.To), doorKey(r.Actor.Door)).Inc()
	if b.From == policy.StateHeld {
		m.decided.WithLabelValues(operation, string(b.To)).Observe(b.At.Sub(r.FiledAt).Seconds())
	}
	switch b.To {
	case policy.StateDone, policy.StateFailed, policy.StateUncertain:
		agreed := r.FiledAt
		for _, a := range r.Approvals {
			agreed = a.At // the last is the one that was enough
		}
		m.done.WithLabelValues(operation, string(b.To)).Observe(b.At.Sub(agreed).Seconds())
	default:
	}
}

// kindLabel is a kind of error as a label.
func kindLabel(k string) string {
	switch kind := policy.Kind(k); kind {
	case policy.Invalid, policy.NotFound, policy.Forbidden, policy.Conflict, policy.Expired, policy.Stale,
		policy.Unavailable, policy.Uncertain, policy.Internal:
		return k
	default:
		return otherLabel
	}
}

// observe adds what a station knows: its ledger and its Slack.
func (m *metrics) observe(st *station) {
	if m == nil {
		return
	}
	for _, d := range st.service.Catalogue() {
		m.known = append(m.known, d.Name)
	}
	m.registry.MustRegister(&ledgerNumbers{ledger: st.ledger, metrics: m})
	if st.slack != nil {
		m.registry.MustRegister(slackNumbers{st.slack})
	}
}

// slackNumbers tells how the Slack door is.
type slackNumbers struct{ bot *slackbot.Bot }

// Describe is [prometheus.Collector]'s.
func (s slackNumbers) Describe(out chan<- *prometheus.Desc) {
	out <- mSlackOpen.desc()
	out <- mSlackAge.desc()
}

// Collect is [prometheus.Collector]'s.
func (s slackNumbers) Collect(out chan<- prometheus.Metric) {
	last, connections := s.bot.Heard()
	out <- prometheus.MustNewConstMetric(mSlackOpen.desc(), prometheus.GaugeValue, float64(connections))
	if !last.IsZero() {
		out <- prometheus.MustNewConstMetric(mSlackAge.desc(), prometheus.GaugeValue, time.Since(last).Seconds())
	}
}

// listenMetrics opens the port of the metrics, which is this host's alone.
func listenMetrics(ctx context.Context, address string) (net.Listener, error) {
	var l net.ListenConfig
	listener, err := l.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, policy.Errorf(policy.Unavailable, "%s cannot be listened on for the metrics; is something else running there?", policy.Clean(address, 60)).
			WithHint("VPSGUARD_METRICS_ADDR=127.0.0.1:0 takes any free port.").Because(err)
	}
	if !loopback(listener.Addr().String()) {
		return nil, errors.Join(usagef("VPSGUARD_METRICS_ADDR must be a host and a port of this host, such as 127.0.0.1:9090"), listener.Close())
	}
	return listener, nil
}

// serveMetrics shows the metrics where the settings say so, until done is called.
func (p *program) serveMetrics(ctx context.Context, s settings) (done func(), err error) {
	if s.MetricsAddr == "" {
		return func() {}, nil
	}
	listener, err := listenMetrics(ctx, s.MetricsAddr)
	if err != nil {
		return nil, err
	}
	p.metrics = newMetrics()
	p.logger(s).InfoContext(ctx, "serving metrics", "url", "http://"+listener.Addr().String()+"/metrics")
	server := p.metrics.serve(listener)
	return func() { _ = server.Close() }, nil // whoever scrapes now asks again
}

// serve answers /metrics until it is closed.
func (m *metrics) serve(listener net.Listener) *http.Server {
	scraped := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second, DisableCompression: true,
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) { // no web page reads them by a name that leads here
			http.Error(w, "this server is not known by that Host", http.StatusForbidden)
			return
		}
		scraped.ServeHTTP(w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = server.Serve(listener) }() // ends with Close
	return server
}
