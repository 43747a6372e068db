// Swagger UI on this server's own description. The page lies beside it, whatever comes before.
const ui = window.SwaggerUIBundle({
  url: new URL("__api__", document.location).href,
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayOperationId: false,
  validatorUrl: null,
  withCredentials: false,
  onComplete: () => {
    document.title = ui.specSelectors.info().get("title") + " API";
    document.body.dataset.ready = "yes";
  },
});
