/**
 * A script of the docs page, loaded after Swagger UI's own. It accepts a token that was pasted
 * with its scheme, as it stands in examples, and shows plain text without the colours of code.
 *
 * @see https://swagger.io/docs/open-source-tools/swagger-ui/customization/plugin-api/
 */
export const pageScript = `{
  const SwaggerUI = SwaggerUIBundle
  const requestInterceptor = (request) => {
    const { Authorization } = request.headers
    if (Authorization) request.headers.Authorization = Authorization.trim().replace(/^(?:Bearer\\s+)+/i, 'Bearer ')
    return request
  }
  const plainText = () => ({
    wrapComponents: {
      HighlightCode: (Original, { React }) => (props) => React.createElement(Original, { ...props, language: props.language ?? 'text' })
    }
  })
  window.SwaggerUIBundle = Object.assign((config) => SwaggerUI({ ...config, requestInterceptor, plugins: [...config.plugins, plainText] }), SwaggerUI)
}
`
