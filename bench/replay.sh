# The replay part of the benchmarks; scripts/bench reads it, with its functions and
# variables. The tables of our side lie in durable lakes under build/bench/replay-SIZE,
# which are filled once; one server of each serves all rounds.
#
#   SIZES="4k 40k 400k"   rows of these sizes
#   REPLAY_PEERS="reverb torchrl transferqueue redis"
#   DRAWS=10000000        rows of the largest pool that is drawn from

sizes=${SIZES:-4k 40k 400k}
declare -A tokens_of=([4k]=455 [40k]=4551 [400k]=45511) table_of=([4k]=20000 [40k]=20000 [400k]=5000)
declare -A addr_of pid_of
theirs=$peers/replay
py=$build/venv/bin/python

# Redis itself comes from the system, or unpacked into build/peers/redis-server.
if [ -d "$build/peers/redis-server" ]; then
  export PATH=$build/peers/redis-server/usr/bin:$PATH LD_LIBRARY_PATH=$build/peers/redis-server/usr/lib/x86_64-linux-gnu
fi

# replay_peer NAME: whether it is there, installed now if need be.
replay_peer() {
  local name=$1 venv=$build/peers/$1
  [ -d "$theirs" ] || { skip "$name: no scripts of the peers"; return 1; }
  if [ "$name" = redis ] && ! command -v redis-server >/dev/null; then
    skip "Redis: there is no redis-server on PATH"
    return 1
  fi
  [ -e "$venv/ok" ] && return 0
  say "installing $name"
  local needs=$theirs/requirements-$name.txt deps=()
  [ "$name" = reverb ] && needs=bench/requirements-reverb.txt
  case $name in torchrl | transferqueue) deps=(--no-deps) ;; esac
  python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check "${deps[@]}" -r "$needs" || { skip "$name: it cannot be installed here"; return 1; }
  case $name in torchrl | transferqueue) "$venv/bin/python" "$theirs/torch_cpu_stubs.py" >/dev/null || { skip "$name: torch cannot be used here"; return 1; } ;; esac
  touch "$venv/ok"
}

# serve_table SIZE starts the server of a table and fills it.
serve_table() {
  local size=$1 lake=$work/replay-$1 addr=''
  : >"$lake.out" # what the last server said
  TRAJLAKE_INDEX=$lake.index "$bin" serve --lake "$lake" --listen 127.0.0.1:0 --json >"$lake.out" 2>"$lake.err" &
  pid_of[$size]=$!
  for _ in $(seq 100); do addr=$(sed -n 's/.*"addr":"\([^"]*\)".*/\1/p' "$lake.out"); [ -n "$addr" ] && break; sleep 0.1; done
  addr_of[$size]=$addr
  figures "table of $size rows" "$py" bench/python_sample.py fill "$addr" "${tokens_of[$size]}" "${table_of[$size]}"
}

# ours SIZE BATCH WHAT WARM
ours() {
  figures "sample $1, batch $2, $3" "$py" bench/python_sample.py sample "${addr_of[$1]}" "${tokens_of[$1]}" "$2" "$window" "$3" "${pid_of[$1]}" "$4"
}

# peer NAME SIZE: the peer's own script, which inserts first.
peer() {
  local options=(--payload "$2" --seconds "$window") script=bench_$1.py
  case $1 in
  reverb) options+=(--scratch "$scratch" --small-prio) ;;
  torchrl) options+=(--mode rpc) ;;
  redis) options+=(--mode redis --scratch "$scratch") ;;
  esac
  figures "$1, $2" timeout 300 "$build/peers/$1/bin/python" "$theirs/$script" "${options[@]}"
}

replay_rounds() {
  local there=() name size batch what
  for name in ${REPLAY_PEERS:-reverb redis torchrl transferqueue}; do replay_peer "$name" && there+=("$name"); done
  round=0
  for size in $sizes; do serve_table "$size"; done
  for round in $(seq "$rounds"); do
    for size in $sizes; do
      ours "$size" 256 uniform $((round == 1 ? 6 : 0))
      ours "$size" 32 uniform 0
      for batch in 256 32; do ours "$size" "$batch" live 0; done
      for name in "${there[@]}"; do peer "$name" "$size"; done
      for what in priority where; do
        ours "$size" 256 "$what" 0
        ours "$size" 256 uniform 0
      done
    done
  done
  for size in $sizes; do kill "${pid_of[$size]}" 2>/dev/null; wait "${pid_of[$size]}" 2>/dev/null; done
}

replay_alone() {
  round=1
  local inserts
  for inserts in 1000 0; do
    serve
    figures "eight writers and a limited reader, $inserts" "$py" bench/python_mixed.py "$addr" 455 "$window" "$inserts"
    stop
  done
  figures 'draws' "$bench" draws -n "${DRAWS:-10000000}" -seconds 1
  figures 'memory of streams' "$bench" memory -dir "$work" -n "$million"
  if [ -d "$work/lake" ]; then
    for round in $(seq "$rounds"); do
      figures 'rows from the cache' "$bench" cached -lake "$work/lake" -dir "$scratch" -seconds "$window"
      [ -n "$lake_py" ] && figures 'rows, Hugging Face datasets' sh -c 'cd "$1" && "$2" bench_take.py "$3" --systems hf_datasets --budget "$4"' - "$peers/lake" "$lake_py" "$work/data" "$window"
    done
  fi
}

if [ -x "$py" ]; then replay_rounds; else skip 'the sample stream: there is no Python client'; fi
replay_alone
