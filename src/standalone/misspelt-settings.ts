import { editDistance } from '../lib/edit-distance.js'
import { Settings } from '../options.js'
import { environmentName } from './config.js'
import type { Environment } from './env-file.js'

const settingNames = Object.keys(Settings.properties).map(environmentName)

/** Too short, or too common in other programs, to tell a typo from a name of another program. */
const commonNames = ['HOST', 'PORT']
/** Names of other programs that are within a typo of a setting. */
const otherPrograms = new Set(['LOGLEVEL', 'LOG_LEVELS', 'DATABASE_SSL', 'DATABASE_URLS', 'SMTP_SSL', 'EMAIL_FROM', 'MAILFROM'])

/** From this length on, two edits are a typo; a shorter name allows one. */
const twoEditsMinLength = 8

/** The setting that a name is a typo of; undefined when there is none. */
function closestSetting (name: string, candidates: string[]): string | undefined {
  const upperCase = name.toUpperCase()
  const [closest] = candidates
    .filter((setting) => Math.abs(setting.length - name.length) <= 2)
    .map((setting) => {
      const max = Math.min(name.length, setting.length) >= twoEditsMinLength && setting !== 'LOG_LEVEL' ? 2 : 1
      return { setting, edits: editDistance(upperCase, setting, max), max }
    })
    .filter(({ edits, max }) => edits <= max)
    .sort((a, b) => a.edits - b.edits)
  return closest?.setting
}

/** The names that are typos of settings, as far as they cannot belong to another program. */
function typosIn (env: Environment, place: string): string[] {
  // Beside a setting, a similar name is most likely that of another program.
  const candidates = settingNames.filter((name) => !commonNames.includes(name) && env[name] === undefined)
  return Object.keys(env).filter((name) => !settingNames.includes(name) && !otherPrograms.has(name.toUpperCase())).flatMap((name) => {
    const setting = closestSetting(name, candidates)
    return setting === undefined ? [] : [`${name} in ${place} is not a setting: did you mean ${setting}?`]
  })
}

/** The names in a file that are not settings. */
function unknownNamesIn (file: Environment, path: string): string[] {
  return Object.keys(file).filter((name) => !settingNames.includes(name)).map((name) => {
    const setting = closestSetting(name, settingNames)
    return `${name} in ${path} is not a setting${setting === undefined ? ': remove it, or set it in the environment if another program needs it' : `: did you mean ${setting}?`}`
  })
}

/**
 * What is wrong with the names in the environment and in a `.env` file, one sentence each.
 *
 * @param isOwnFile whether the file is Latchkey's alone: true for the server; the commands also run in the folder of an app
 */
export function misspeltSettings (env: Environment, file: Environment, path: string, isOwnFile: boolean): string[] {
  return [...typosIn(env, 'the environment'), ...isOwnFile ? unknownNamesIn(file, path) : typosIn(file, path)]
}
