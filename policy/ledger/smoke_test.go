package ledger_test
import ("testing";"context";"time";"log/slog";"os"
"github.com/vpsguard/vpsguard/policy";"github.com/vpsguard/vpsguard/policy/ledger";"github.com/vpsguard/vpsguard/policy/policytest")
func TestSmoke(t *testing.T){
 t0:=time.Now()
 l,err:=ledger.Open(t.Context(),"sqlite:"+t.TempDir()+"/a b%20?/l.db",ledger.Options{Now:time.Now,Logger:slog.New(slog.NewTextHandler(os.Stderr,nil))}); if err!=nil{t.Fatal(err)}
 t.Log("open",time.Since(t0), l.Path())
 defer l.Close()
 ctx,cancel:=context.WithCancel(t.Context())
 got:=make(chan string,10); done:=make(chan error)
 go func(){done<-l.Work(ctx,policytest.Account,func(ctx context.Context,id string)(time.Duration,error){got<-id;return 0,nil})}()
 time.Sleep(300*time.Millisecond)
 t0=time.Now()
 err=l.Change(t.Context(),func(ctx context.Context,tx policy.Tx)error{ r,err:=tx.Put(ctx,policytest.Request("rq_222222"),policytest.Held(policytest.Request("rq_222222"))); if err!=nil{return err}; return tx.Nudge(ctx,r,time.Time{})})
 t.Log(err,time.Since(t0)); t.Log(<-got,time.Since(t0)); 
 v,err:=l.Verify(t.Context(),nil); t.Log(v,err)
 r,n,err:=l.Requests(t.Context(),policy.Filter{States:[]policy.State{policy.StateHeld}}); t.Log(len(r),n,err)
 cancel(); t.Log(<-done)
}
