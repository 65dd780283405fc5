import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: [...resolveIgnoresFromGitignore(), 'src/client/contract.ts'] }),
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error'
    }
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-syntax': ['error', {
        selector: 'CallExpression[callee.name="Object"]',
        message: 'Object(x) has the type any. Narrow x with a function, such as those in src/lib/error-code.ts, or write `as` with the reason next to it.'
      }, {
        selector: 'MemberExpression[object.name="Reflect"]',
        message: 'Reflect gets around the types. Narrow the value with a function, or write `as` with the reason next to it.'
      }]
    }
  }
]
