// Package slackfake is a strict Slack that lives in memory: the sandbox runs on it
// and every test of a Slack app talks to it over real HTTP and real websockets. It
// is an [http.Handler], so it can be served by httptest or inside the program.
//
// It is a workspace with people, channels and user groups, the Web API below
// /api/, response URLs, Socket Mode, and signed HTTP delivery to an app that has
// request URLs ([Fake.SetReceiver]). People act through [Fake.User]: they type
// commands, mention the app, press buttons, fill modals in. What they then see is
// read with [Fake.Messages], [Fake.Thread], [Fake.Ephemerals] and [Fake.Views].
//
// It enforces what breaks in production: the acknowledgement within 3 seconds,
// a trigger_id once and for 3 seconds, a response_url five times in 30 minutes,
// one post a second in a channel, the limits of Block Kit counted in characters,
// ephemerals that cannot be edited, tokens, scopes and memberships. What an app
// should not have done is kept in [Fake.Violations], also where Slack itself would
// say nothing, such as a post without a text for screen readers. It fails on demand
// ([Fake.Inject]), in pairs: "it failed" and "it failed but it happened".
//
// All time comes from [Options].Now and [Options].AfterFunc; [NewClock] makes both
// for tests. Only the pings that keep a websocket alive run on real time, as they
// belong to the connection and not to the story.
//
// What it promises when misused: an unknown id, fault or button in a call of a
// test's own panics, as that is a mistake in the test. Everything is safe for
// concurrent use. [Fake.Close] ends what is still under way.
//
// Where the documentation is silent, the stricter reading was taken; each such
// place says so.
package slackfake
