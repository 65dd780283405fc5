import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Outlives us by a moment, in a process group of its own: when our end of its pipe closes, even
 * because we were killed, it ends what we have started and removes what we have made.
 */
const script = `
  pids=' ' folders=
  while read -r line; do
    case "$line" in
      +*) pids="$pids\${line#+} " ;;
      -*) pids=$(printf '%s' "$pids" | sed "s/ \${line#-} / /") ;;
      /*) folders="$folders$line
" ;;
    esac
  done
  if [ "$pids" != ' ' ]; then
    kill -QUIT $pids
    sleep 1
    kill -KILL $pids
  fi
  printf '%s\\n' "$folders" | while read -r folder; do [ -z "$folder" ] || rm -rf "$folder"; done`

let reaper: ChildProcess | undefined

function tell (line: string): void {
  reaper ??= spawn('sh', ['-c', script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  reaper.unref()
  Object(reaper.stdin).unref?.()
  reaper.stdin?.write(`${line}\n`)
}

/** Has a process end with this one, however this one ends. Returns what takes that back: when it has ended. */
export function endWithUs (pid: number | undefined): () => void {
  if (pid === undefined) return () => {}
  tell(`+${pid}`)
  return () => tell(`-${pid}`)
}

/** Has a folder removed when this process ends, however it ends. */
export function removeWithUs (folder: string): void {
  tell(folder)
}
