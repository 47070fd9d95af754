package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack/socketmode"
)

// wire is one connection. It lives longer than it is wanted: after Slack has told it
// to go it works on until Slack closes it.
type wire struct {
	s    *sockets
	conn *websocket.Conn
	stop context.CancelFunc // ends the reading, then the line

	hello, told, gone chan struct{} // closed when it was greeted, should be replaced, is over
	greeted, leave    func()
	leaving           *time.Timer // belongs to run; nil until Slack has told it to go
	once              sync.Once
	why               error // may be read when gone is closed

	pen  chan struct{} // held by who writes
	acks sync.WaitGroup
}

// last waits until a line should be replaced and tells whether it lasted.
func (l *wire) last(ctx context.Context) bool {
	t := time.NewTimer(healthyAfter)
	defer t.Stop()
	select {
	case <-l.told:
		return false
	case <-t.C:
	}
	select {
	case <-l.told:
	case <-ctx.Done():
	}
	return true
}

// close ends a line at once. The first reason counts.
func (l *wire) close(why error) {
	l.once.Do(func() {
		l.why = why
		_ = l.conn.Close()
		close(l.gone)
		l.leave()
	})
}

// run reads until the line ends or ctx does. In the second case it still gives the
// acknowledgements that are under way.
func (l *wire) run(ctx context.Context) {
	silent := time.AfterFunc(pingWithin, func() { l.close(errors.New("there was no ping")) })
	defer silent.Stop()
	pong := l.conn.PingHandler()
	l.conn.SetPingHandler(func(data string) error {
		silent.Reset(pingWithin)
		return pong(data)
	})
	deaf := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	for {
		_, b, err := l.conn.ReadMessage()
		if err != nil {
			if ctx.Err() == nil {
				l.close(err)
				if l.leaving == nil {
					l.s.Board.failed(fmt.Errorf("a connection was lost: %w", l.why))
				}
			}
			break
		}
		silent.Reset(pingWithin)
		l.handle(b)
	}
	deaf()
	l.acks.Wait()
	if ctx.Err() != nil {
		_ = l.write(func() error {
			return l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{})
		})
	}
	l.close(errors.New("it is not wanted any more"))
	l.stop()
	if l.leaving != nil {
		l.leaving.Stop()
	}
	select {
	case <-l.hello:
		l.s.Board.closed(true)
	default:
		l.s.Board.closed(false)
	}
	l.s.Log.InfoContext(ctx, "a connection to Slack ended", "reason", l.why)
}

// write has the connection for itself. Slack must take what is written in time.
func (l *wire) write(f func() error) error {
	select {
	case l.pen <- struct{}{}:
	case <-l.gone:
		return errors.New("the connection has ended")
	}
	defer func() { <-l.pen }()
	defer time.AfterFunc(writeWithin, func() { l.close(errors.New("nobody reads at the other end")) }).Stop()
	return f()
}

// handle takes one message. It does not wait for anything.
func (l *wire) handle(b []byte) {
	var q socketmode.Request
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(b, &q); err != nil && !errors.As(err, &mismatch) {
		l.s.Log.Error("Slack sent something that is no JSON", "bytes", len(b))
		return
	}
	switch q.Type {
	case socketmode.RequestTypeHello:
		select {
		case <-l.hello:
			return // once is enough
		default:
		}
		others := l.s.Board.greeted(q.NumConnections)
		l.s.Log.Info("connected to Slack", "connections", q.NumConnections)
		if others > 0 {
			l.s.Log.Warn("another program uses the same Slack app and gets a part of what people do", "connections", others)
		}
		l.greeted()
	case socketmode.RequestTypeDisconnect:
		l.s.Log.Info("Slack ends a connection soon", "reason", q.Reason)
		if l.leaving == nil {
			l.leaving = time.AfterFunc(leavingFor, l.stop)
		}
		l.leave()
	default:
		if q.EnvelopeID == "" {
			l.s.Log.Error("Slack sent something without an envelope_id", "type", q.Type)
			return
		}
		l.s.Board.received(l.s.Now())
		l.acks.Go(func() { l.deliver(q) })
	}
}

// deliver has an envelope received and acknowledges it in time. What cannot be read
// is acknowledged too: it would be the same the next time.
func (l *wire) deliver(q socketmode.Request) {
	d, err := envelope(q)
	if err != nil {
		l.s.Log.Error("an envelope cannot be read", "type", q.Type, "envelope_id", q.EnvelopeID, "reason", err)
		l.acknowledge(q, nil)
		return
	}
	// The connection's end is not the delivery's: Slack will ask for it on another.
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	ack, f := l.s.Intake.take(ctx, d, l.s.r)
	switch {
	case f == fateAcked, f == fateBroken && d.Kind == kindEvent:
		l.acknowledge(q, ack)
	default:
		// Whoever acted is told by Slack that it did not work; what was refused
		// may come again.
	}
}

// envelope makes a delivery.
func envelope(q socketmode.Request) (delivery, error) {
	d := delivery{Key: "envelope:" + q.EnvelopeID, Retry: q.RetryAttempt > 0, Via: viaSocket, Body: q.Payload}
	head, err := headOf(q.Payload)
	if err != nil {
		return d, err
	}
	switch q.Type {
	case socketmode.RequestTypeSlashCommands:
		d.Kind = kindCommand
		d.Body, err = commandJSON(q.Payload)
	case socketmode.RequestTypeInteractive:
		d.Kind = head.kind()
	case socketmode.RequestTypeEventsAPI:
		d.Kind = kindEvent
		if head.EventID != "" {
			d.Key = eventKey(head.EventID)
		}
	default:
		err = errors.New("nothing of that type is known")
	}
	return d, err
}

// acknowledge answers an envelope.
func (l *wire) acknowledge(q socketmode.Request, ack json.RawMessage) {
	answer := socketmode.Response{EnvelopeID: q.EnvelopeID}
	if len(ack) > 0 {
		if q.AcceptsResponsePayload {
			answer.Payload = ack
		} else {
			l.s.Log.Warn("an answer is dropped: this takes none", "type", q.Type, "envelope_id", q.EnvelopeID)
		}
	}
	b, err := json.Marshal(answer)
	if err != nil || len(b) >= largestAck {
		l.s.Log.Error("an answer is dropped: it is too large or no JSON", "type", q.Type, "envelope_id", q.EnvelopeID, "bytes", len(ack))
		answer.Payload = nil
		b, err = json.Marshal(answer)
	}
	if err == nil {
		err = l.write(func() error { return l.conn.WriteMessage(websocket.TextMessage, b) })
	}
	if err != nil {
		l.s.Log.Warn("an acknowledgement could not be given", "type", q.Type, "envelope_id", q.EnvelopeID, "reason", err)
	}
}
