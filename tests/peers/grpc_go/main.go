// A gRPC client and server with all defaults of grpc-go, its bandwidth estimator among them.
//
//	grpc_go serve ADDRESS
//	grpc_go stream ADDRESS AUTHORITY SECONDS PAUSE_MS   one half-open stream with a message each PAUSE_MS
//	grpc_go unary ADDRESS AUTHORITY CALLS CALLERS       that many calls
//	grpc_go cancel ADDRESS AUTHORITY CALLS              calls that are cancelled at once in bursts, and then a good one
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type bytesValue = wrapperspb.BytesValue

// Messages come as often as the client asks, for as long as it listens.
func trickle(_ any, stream grpc.ServerStream) error {
	var pause durationpb.Duration
	if err := stream.RecvMsg(&pause); err != nil {
		return err
	}
	ticks := time.NewTicker(pause.AsDuration())
	defer ticks.Stop()
	message := &bytesValue{Value: make([]byte, 18)}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-ticks.C:
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
	}
}

func echo(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var message bytesValue
	if err := decode(&message); err != nil {
		return nil, err
	}
	return &message, nil
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "peer.Peer",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
		Streams:     []grpc.StreamDesc{{StreamName: "Trickle", Handler: trickle, ServerStreams: true, ClientStreams: true}},
	}, struct{}{})
	fmt.Println("serving")
	return server.Serve(listener)
}

func connect(address, authority string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func stream(conn *grpc.ClientConn, length, pause time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	call, err := conn.NewStream(ctx, desc, "/peer.Peer/Trickle")
	if err != nil {
		return err
	}
	if err := call.SendMsg(durationpb.New(pause)); err != nil {
		return err
	}
	var message bytesValue
	count := 0
	for began := time.Now(); time.Since(began) < length; count++ {
		if err := call.RecvMsg(&message); err != nil {
			return fmt.Errorf("after %d messages and %v: %w", count, time.Since(began), err)
		}
	}
	if least := int(length / pause / 2); count < least {
		return fmt.Errorf("only %d messages, not half of what was sent", count)
	}
	fmt.Println(count, "messages")
	return nil
}

func ask(ctx context.Context, conn *grpc.ClientConn) error {
	in, out := &bytesValue{Value: []byte("a message")}, &bytesValue{}
	if err := conn.Invoke(ctx, "/peer.Peer/Echo", in, out); err != nil {
		return err
	}
	if string(out.Value) != "a message" {
		return fmt.Errorf("another message came back: %q", out.Value)
	}
	return nil
}

func unary(conn *grpc.ClientConn, calls, callers int) error {
	var group sync.WaitGroup
	failures := make(chan error, calls)
	for range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			for range calls / callers {
				if err := ask(context.Background(), conn); err != nil {
					failures <- err
				}
			}
		}()
	}
	group.Wait()
	close(failures)
	if len(failures) > 0 {
		return fmt.Errorf("%d of %d calls failed, the first: %w", len(failures), calls, <-failures)
	}
	fmt.Println(calls, "calls")
	return nil
}

func cancelled(conn *grpc.ClientConn, calls int) error {
	var group sync.WaitGroup
	for range calls {
		group.Add(1)
		go func() {
			defer group.Done()
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Millisecond, cancel)
			_ = ask(ctx, conn)
		}()
	}
	group.Wait()
	return ask(context.Background(), conn)
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return value
}

func run(args []string) error {
	if args[0] == "serve" {
		return serve(args[1])
	}
	conn, err := connect(args[1], args[2])
	if err != nil {
		return err
	}
	defer conn.Close()
	switch args[0] {
	case "stream":
		length, pause := time.Duration(number(args[3]))*time.Second, time.Duration(number(args[4]))*time.Millisecond
		return stream(conn, length, pause)
	case "unary":
		return unary(conn, number(args[3]), number(args[4]))
	case "cancel":
		return cancelled(conn, number(args[3]))
	}
	return fmt.Errorf("what is %q?", args[0])
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
