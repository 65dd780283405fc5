import type { LightMyRequestResponse } from 'fastify'
import type { Fixture } from './fixture.js'
import { observe } from './observe.js'
import { accountOf, emptyModel, type Model } from './model.js'
import { passwords } from './account-steps.js'
import type { Plan, Step, Verdict } from './step.js'

/** A sequence that is being sent: the server, the model, and what was sent so far. */
export interface Run {
  fixture: Fixture
  model: Model
  transcript: string[]
  /** Sends one request and holds its answer to the model; answers the body. */
  one: (plan: Plan) => Promise<unknown>
  /** Sends several requests at once: what is answered, and what is true afterwards, must be as after one of their orders. */
  atOnce: (plans: Plan[]) => Promise<void>
  /** Moves the clock. */
  wait: (seconds: number) => void
}

/** What was answered to a step. */
interface Answer { step: Step, status: string, body: unknown }

const isRefusal = (status: string) => status.startsWith('4')

function statusOf ({ statusCode, body }: LightMyRequestResponse): string {
  const code = statusCode >= 400 ? ` ${(JSON.parse(body) as { code: string }).code}` : ''
  return `${statusCode}${code}`
}

const bodyOf = ({ body, headers }: LightMyRequestResponse): unknown => String(headers['content-type']).startsWith('application/json') ? JSON.parse(body) : body

/** The token that was answered, if any. */
const newToken = ({ body }: Answer): string[] => typeof body === 'object' && body !== null && 'token' in body ? [String(body.token)] : []

/** A request as it is printed. */
function textOf ({ request: { method, url, payload, headers }, asker }: Step): string {
  const type = headers?.['content-type']
  const text = payload === undefined ? '' : typeof payload === 'string' ? payload.slice(0, 80) : JSON.stringify(payload)
  return `${asker}: ${method} ${String(url)} ${type === undefined ? '' : `(${String(type)}) `}${text}`
}

/** Starts a sequence with the model that a fixture begins with. */
export function startRun (fixture: Fixture): Run {
  const transcript: string[] = []

  async function observed (step: Step): Promise<Answer> {
    const response = await fixture.send(step.request)
    const [status, body] = [statusOf(response), bodyOf(response)]
    checkSecrets(response, run.model)
    return { step, status, body }
  }

  /** The same, for what is printed. */
  async function send (step: Step): Promise<Answer> {
    const line = transcript.push(textOf(step)) - 1
    const answer = await observed(step)
    transcript[line] += ` → ${answer.status}`
    return answer
  }

  const run: Run = {
    fixture,
    model: emptyModel(fixture.clock.now()),
    transcript,
    async one (plan) {
      run.wait(1)
      const answer = await send(plan(run.model))
      apply(answer, answer.step.judge(run.model))
      return answer.body
    },

    async atOnce (plans) {
      run.wait(1)
      const before = run.model
      before.concurrentTimes.push(before.now)
      transcript.push(`the next ${plans.length} at once:`)
      const answers = await all(plans.map((plan) => send(plan(before))))
      const observations: Answer[] = []
      for (const step of observe(before, answers.flatMap(newToken))) observations.push(await observed(step))
      const problems = new Set<string>()
      for (const order of permutations(answers)) {
        run.model = structuredClone(before)
        try {
          applyInOrder(order, before, run.model)
          for (const observation of observations) apply(observation, observation.step.judge(run.model))
          return
        } catch (error) {
          problems.add(error instanceof Error ? error.message : String(error))
        }
      }
      throw new Error(`the last requests at once: no order of them explains what is answered\n${[...problems].join('\n')}`)
    },

    wait (seconds) {
      fixture.clock.advance(seconds)
      run.model.now = fixture.clock.now()
    }
  }
  return run
}

/** What was sent, a line each; what was sent many times is said once. */
export function textOfTranscript (transcript: string[]): string {
  const lines: string[] = []
  for (let i = 0, times = 1; i < transcript.length; i += times, times = 1) {
    while (transcript[i + times] === transcript[i]) times++
    lines.push(`  ${transcript[i]}${times === 1 ? '' : ` (${times} times)`}`)
  }
  return lines.join('\n')
}

/** Holds an answer to its verdict. */
function apply ({ step, status, body }: Answer, { answers, effect }: Verdict): void {
  if (!answers.includes(status)) throw new Error(`${textOf(step)} is answered ${status}, must be ${answers.join(' or ')}`)
  effect?.(body, status)
}

/** Holds answers to the verdicts that they would have had one after the other. */
function applyInOrder (answers: Answer[], before: Model, model: Model): void {
  for (const answer of answers) {
    const { step, status } = answer
    const verdict = step.judge(model)
    const isRefused = verdict.answers.every(isRefusal)
    // Which of the reasons it is refused for depends on how far it had got.
    if (isRefused && isRefusal(status)) continue
    const wasPossible = isRefused && step.judge(structuredClone(before)).answers.includes(status)
    if (wasPossible && step.isIdempotent === true) continue
    if (wasPossible && step.revokesWith !== undefined) applyWithToken(answer, step.revokesWith, model)
    else apply(answer, verdict)
  }
}

/** Holds an answer to the verdict that it would have if its token were not revoked. */
function applyWithToken (answer: Answer, value: string, model: Model): void {
  const token = model.tokens.find((token) => token.value === value)
  // With the account every token is gone already.
  if (token === undefined || accountOf(model, token.userId).isDeleted) return
  token.isRevoked = false
  apply(answer, answer.step.judge(model))
  token.isRevoked = true
}

/** Waits for all of them, also when one rejects: none must run into what comes next. */
async function all<Value> (promises: Array<Promise<Value>>): Promise<Value[]> {
  await Promise.allSettled(promises)
  return await Promise.all(promises)
}

function permutations<Item> (items: Item[]): Item[][] {
  if (items.length < 2) return [items]
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((others) => [item, ...others]))
}

/** Nothing secret is answered, but a new token to who asked for it. */
function checkSecrets ({ body }: LightMyRequestResponse, model: Model): void {
  const secrets = [...passwords, ...model.tokens.map(({ value }) => value), '$argon2']
  const told = secrets.find((secret) => body.includes(secret))
  if (told !== undefined) throw new Error(`the body has a secret in it: ${told}`)
}
